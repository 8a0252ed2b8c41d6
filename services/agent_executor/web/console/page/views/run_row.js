// One run in the list: what the list said of it, and what has been told since.

import { isOver, stateChip } from "../parts/chips.js";
import { h, replace, setText } from "../parts/dom.js";
import { ago, compact, count, duration, fullTime, line, usd } from "../parts/format.js";
import { to } from "../router.js";

export class RunRow {
  constructor(run, directory) {
    this.run = run;
    this.created = Date.parse(run.created_at);
    this.directory = directory;
    this.waits = new WaitsAndWork();
    this.state = h("td.state");
    this.agent = h("span.agent");
    this.tokens = h("td.number.tokens");
    this.cost = h("td.number.cost");
    this.took = h("td.number.took");
    this.begun = h("td.number.begun");
    this.link = h("a.row-link", { href: to("runs", run.id) }, line(run.input, 200) || "(no input)");
    this.error = h("span.row-error");
    this.element = h("tr", { on: { click: (event) => event.target.closest("a") || this.link.click() } },
      this.state, h("td.input", {}, this.link, this.agent, this.error), this.tokens, this.cost, this.took, this.begun);
    this.draw();
  }

  /** Takes what a list says, unless more has been told already. */
  update(run) {
    if (run.last_sequence < this.run.last_sequence) return;
    this.run = run;
    this.draw();
  }

  /** Takes what has been told. */
  hear({ event, tokens_used: tokens, cost_nano_usd: cost }) {
    if (event.sequence <= this.run.last_sequence) return;
    const state = this.waits.stateAfter(event) ?? this.run.state;
    this.run = { ...this.run, last_sequence: event.sequence, tokens_used: tokens, cost_nano_usd: cost, state };
    if (event.type === "run_finished") {
      Object.assign(this.run, { ended_at: event.created_at, error: event.run_finished.error });
    }
    this.draw();
  }

  draw() {
    const { run } = this;
    if (this.state.dataset.state !== run.state) {
      this.state.dataset.state = run.state;
      replace(this.state, stateChip(run.state));
    }
    setText(this.error, run.error ? line(run.error, 140) : "");
    const name = this.directory.name(run.agent_id);
    setText(this.agent, name === run.agent_id ? `…${run.agent_id.slice(-8)}` : line(name, 80));
    setText(this.tokens, Number(run.tokens_used) ? compact(run.tokens_used) : "–");
    this.tokens.title = count(run.tokens_used);
    setText(this.cost, Number(run.cost_nano_usd) ? usd(run.cost_nano_usd) : "–");
    this.begun.title = fullTime(this.created);
    this.tick();
  }

  /** Shows the time that has passed. */
  tick() {
    const { run } = this;
    const ended = run.ended_at ? Date.parse(run.ended_at) : isOver(run.state) ? this.created : Date.now();
    setText(this.took, duration(ended - this.created));
    setText(this.begun, ago(this.created));
  }
}

/** What is open in a run, as far as it was told: while anything works the run does, else it waits. */
class WaitsAndWork {
  #work = new Set();
  #asked = new Set();

  /** Returns the state after an event; undefined if the event does not say. */
  stateAfter({ type, [type]: payload }) {
    switch (type) {
      case "run_finished": return payload.state;
      case "run_paused": return "paused";
      case "model_call_batched": return "waiting";
      case "approval_requested": this.#asked.add(payload.tool_call_id); break;
      case "approval_resolved": this.#asked.delete(payload.tool_call_id); break;
      case "tool_call_started": this.#work.add(payload.tool_call_id); break;
      case "tool_call_completed": this.#work.delete(payload.tool_result.tool_call_id); break;
      case "run_started": case "run_resumed": case "run_continued": case "model_call_started": return "running";
      default: return undefined;
    }
    return this.#asked.size && !this.#work.size ? "waiting" : "running";
  }
}
