// Folds a run's events into what it did, from when to when: the rows of the waterfall.

/**
 * One thing that a run did or waited for.
 * @typedef {object} Span
 * @property {string} key Unique in the run.
 * @property {"model"|"tool"|"approval"|"wait"|"mark"} kind
 * @property {string} name
 * @property {number} depth How far it is indented.
 * @property {number} begun In milliseconds since 1970.
 * @property {number|null} ended null while it goes on.
 * @property {"running"|"waiting"|"done"|"failed"|"lost"} status
 * @property {string} outcome How it came out, in a few words.
 * @property {number} costNanoUsd
 * @property {number} tokens
 * @property {string} [gist] What tells it from others of its name.
 * @property {object} details What the events said of it, by name.
 */

export class RunLog {
  /** @type {Span[]} */
  spans = [];
  lastSequence = 0;
  begun = null;
  ended = null;
  state = "pending";
  costNanoUsd = 0;
  tokens = 0;
  response = "";
  error = null;
  input = null;
  #open = new Map();
  #unended = new Set();

  /** Takes the next event; one that was taken before is left alone. Returns whether it was new. */
  add(event) {
    if (event.sequence <= this.lastSequence) return false;
    this.lastSequence = event.sequence;
    const at = Date.parse(event.created_at);
    this.begun ??= at;
    FOLDS[event.type]?.(this, event[event.type] ?? {}, at);
    if (this.ended === null) this.state = this.#stateNow();
    return true;
  }

  begin(key, kind, name, at, details = {}, fields = {}) {
    const span = { key: `${key} ${this.spans.length}`, kind, name, depth: kind === "tool" || kind === "approval" ? 1 : 0,
      begun: at, ended: null, status: kind === "approval" || kind === "wait" ? "waiting" : "running",
      outcome: "", costNanoUsd: 0, tokens: 0, details, ...fields };
    this.spans.push(span);
    this.#open.set(key, span);
    if (span.ended === null) this.#unended.add(span);
    return span;
  }

  end(key, at, status, outcome, details = {}) {
    const span = this.#open.get(key);
    if (!span) return null;
    Object.assign(span, { ended: span.ended ?? at, status, outcome });
    Object.assign(span.details, details);
    this.#unended.delete(span);
    return span;
  }

  find(key) {
    return this.#open.get(key);
  }

  mark(name, at, outcome, details = {}, status = "done") {
    this.begin(`mark${this.spans.length}`, "mark", name, at, details, { ended: at, status, outcome });
  }

  // While anything works the run does; waiting is what is left when nothing does.
  #stateNow() {
    const open = [...this.#unended];
    if (open.some((span) => span.status === "running")) return "running";
    if (open.some((span) => span.kind === "wait")) return "paused";
    return open.length ? "waiting" : "running";
  }

  /** Ends what is still open. */
  closeAll(at, status, outcome, kinds = null) {
    for (const span of this.#unended) {
      if (kinds && !kinds.includes(span.kind)) continue;
      Object.assign(span, { ended: at, status, outcome });
      this.#unended.delete(span);
    }
  }
}

const tokensOf = (call) => call.input_tokens + call.output_tokens + call.cache_read_input_tokens + call.cache_creation_input_tokens;

// Arguments in one line, to tell calls of one tool apart.
function gistOf(json) {
  try {
    return Object.values(JSON.parse(json)).map((value) => (typeof value === "object" ? JSON.stringify(value) : String(value))).join(" ").slice(0, 120);
  } catch {
    return "";
  }
}

const FOLDS = {
  run_started(log, payload) {
    log.input = payload.input;
    log.started = payload;
  },
  run_resumed(log, { attempt }, at) {
    log.closeAll(at, "lost", "lost with the executor that made it", ["model"]);
    log.mark(`Resumed, attempt ${attempt}`, at, "an executor went on from the log", { attempt }, "lost");
  },
  model_selected: (log, { model, reason }, at) => log.mark(`Model chosen: ${model}`, at, reason, { model, reason }),
  history_trimmed: (log, payload, at) => log.mark("History trimmed", at, `${payload.message_count} messages left out`, payload),
  model_call_started(log, { model_call_id: id, turn }, at) {
    const again = log.spans.some((span) => span.kind === "model" && span.turn === turn);
    log.begin(`model ${id}`, "model", `Model call ${turn}${again ? ", again" : ""}`, at, { model_call_id: id, turn }, { turn });
  },
  model_call_batched(log, { model_call_id: id, batch_id }) {
    const span = log.find(`model ${id}`);
    if (span) Object.assign(span, { status: "waiting", outcome: "waits for its batch" });
    if (span) span.details.batch_id = batch_id;
  },
  model_call_completed(log, payload, at) {
    const { model_call_id: id, stop_reason: why, from_cache: cached, ...rest } = payload;
    const span = log.end(`model ${id}`, at, "done", cached ? "from the response cache" : why.replaceAll("_", " "),
      { stop_reason: why, from_cache: cached, ...rest });
    if (span) span.tokens = tokensOf(payload);
    log.tokens += tokensOf(payload);
  },
  model_call_failed(log, { model_call_id: id, error, code, will_retry: again }, at) {
    log.end(`model ${id}`, at, "failed", again ? `${code}, tried again` : code, { error, code, will_retry: again });
  },
  model_call_settled(log, { model_call_id: id, cost_nano_usd: cost, usage_entry_id: entry, estimated }) {
    log.costNanoUsd += Number(cost);
    const span = log.find(`model ${id}`);
    if (!span) return;
    span.costNanoUsd += Number(cost);
    Object.assign(span.details, { usage_entry_id: entry, estimated });
  },
  tool_call_started(log, { tool_call_id: id, tool_name: name, arguments_json: json }, at) {
    const span = log.find(`tool ${id}`);
    // Sent again under its id after a recovery: it is the same call.
    if (span && span.ended === null) span.details.sent_again = true;
    else log.begin(`tool ${id}`, "tool", name, at, { tool_call_id: id, arguments_json: json }, { gist: gistOf(json) });
  },
  tool_call_completed(log, { tool_result: result }, at) {
    const key = `tool ${result.tool_call_id}`;
    if (!log.find(key)) log.begin(key, "tool", result.tool_name, at, { tool_call_id: result.tool_call_id });
    log.end(key, at, result.success ? "done" : "failed", result.success ? "done" : result.code,
      result.success ? { result: result.result } : { error: result.error, code: result.code });
  },
  approval_requested(log, payload, at) {
    log.begin(`approval ${payload.tool_call_id}`, "approval", `Approval of ${payload.tool_name}`, at, { ...payload });
  },
  approval_resolved(log, { tool_call_id: id, decision, user_id: by, reason, edited_arguments_json: edited }, at) {
    log.end(`approval ${id}`, at, decision === "approved" ? "done" : "failed", by ? `${decision} by ${by}` : decision,
      { decision, decided_by: by, decision_reason: reason, edited_arguments_json: edited });
  },
  run_paused(log, { error, code, budget_id: budget }, at) {
    log.begin("paused", "wait", "Waiting for money", at, { error, code, budget_id: budget });
  },
  run_continued(log, _payload, at) {
    log.end("paused", at, "done", "there is some again");
  },
  cancel_requested(log, { user_id: by, reason }, at) {
    log.mark("Asked to stop", at, [by && `by ${by}`, reason].filter(Boolean).join(": ") || "the caller went away", { by, reason }, "failed");
  },
  run_finished(log, { state, response, error, code }, at) {
    log.closeAll(at, state === "completed" ? "done" : "lost", "ended with the run");
    Object.assign(log, { state, response, ended: at, error: error ? { message: error, code } : null });
  },
};
