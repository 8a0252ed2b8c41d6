// One run: what it did, when, for how much, and what came of it; live while it goes on.

import { get, post, segment } from "../data/api.js";
import { RunLog } from "../data/run_log.js";
import { serverSentEvents } from "../data/server_sent_events.js";
import { isOver, stateChip } from "../parts/chips.js";
import { showDialog } from "../parts/dialog.js";
import { h, icon, replace, setText } from "../parts/dom.js";
import { count, duration, fullTime, line, usd } from "../parts/format.js";
import { listKeys, shortcut } from "../parts/keyboard.js";
import { announce, notify, problem, showProblem } from "../parts/notice.js";
import { spanDetails, textBlock } from "../parts/span_details.js";
import { Waterfall } from "../parts/waterfall.js";
import { to } from "../router.js";

const LONGEST_DELAY_MS = 10_000;
const TICK_MS = 200;

export function runView(main, { id, directory, signal }) {
  const log = new RunLog();
  const detail = h("section.card.detail", { "aria-label": "Details", tabindex: "-1" }, h("p.hint", {}, "Choose a step to see what it was given and what came of it."));
  const waterfall = new Waterfall(log, (span) => {
    chosen = span;
    replace(detail, spanDetails(span));
  });
  const parts = { state: h("span.state"), title: h("h1.run-title"), facts: h("dl.run-facts"), trouble: h("div"), answer: h("div"), input: h("div") };
  const cancel = h("button.danger", { type: "button", hidden: true, on: { click: askToCancel } }, "Cancel run");
  const approve = h("a.button.primary", { href: to("approvals"), hidden: true }, "Decide");
  let run = null;
  let chosen = null;

  replace(main,
    h("div.head.run-head", {}, h("a.back", { href: to("runs"), "aria-label": "Back to the runs" }, icon("back")),
      parts.title, parts.state, h("span.spring"), approve, cancel),
    parts.facts, parts.trouble,
    h("div.run-layout", {}, h("section.card.timeline", { "aria-labelledby": "timeline-title" },
      h("div.card-head", {}, h("h2", { id: "timeline-title" }, "Timeline"), waterfall.squeezeLabel), waterfall.element), detail),
    parts.answer, parts.input);

  async function readRun() {
    run = await get(`/api/v1/runs/${segment(id)}`, {}, { signal });
    draw();
  }

  async function follow() {
    let delay = 500;
    while (!signal.aborted && log.ended === null) {
      try {
        for await (const event of serverSentEvents(`/api/v1/runs/${segment(id)}/events?after_sequence=${log.lastSequence}`, { signal })) {
          delay = 500;
          if (!event.type || !log.add(event)) continue;
          waterfall.draw();
          drawSoon();
          if (event.type === "run_finished") announce(`The run has ended: ${log.state}.`);
        }
      } catch (error) {
        if (signal.aborted) return;
        // A stream that broke off goes on where it was; a refusal stays one.
        if (error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
      }
      if (log.ended === null) await new Promise((resolve) => { setTimeout(resolve, delay); });
      delay = Math.min(delay * 2, LONGEST_DELAY_MS);
    }
  }

  let frame = 0;
  const drawSoon = () => { frame ||= requestAnimationFrame(() => { frame = 0; draw(); }); };

  function draw() {
    const state = log.lastSequence ? log.state : run?.state ?? "pending";
    const input = log.input ?? run?.input ?? "";
    setText(parts.title, line(input, 90) || "Run");
    if (parts.state.dataset.state !== state) {
      parts.state.dataset.state = state;
      replace(parts.state, stateChip(state));
    }
    cancel.hidden = isOver(state);
    approve.hidden = !log.spans.some((span) => span.kind === "approval" && span.ended === null);
    drawFacts(state);
    const error = log.error ?? (run?.error ? { message: run.error, code: run.code } : null);
    if (error && !parts.trouble.hasChildNodes()) replace(parts.trouble, problem(error));
    const answer = log.response || run?.output?.response;
    if (answer && !parts.answer.hasChildNodes()) replace(parts.answer, h("section.card.answer", {}, textBlock("Answer", answer)));
    if (input.length > 90 && !parts.input.hasChildNodes()) replace(parts.input, h("section.card", {}, textBlock("Input", input)));
    // An open step goes on, and so does what is known of it.
    if (chosen && log.ended === null) replaceDetailIfChanged();
  }

  let drawnOf = "";
  function replaceDetailIfChanged() {
    const now = `${chosen.key} ${chosen.status} ${chosen.costNanoUsd} ${Object.keys(chosen.details).length}`;
    if (now === drawnOf || detail.contains(document.activeElement)) return;
    drawnOf = now;
    replace(detail, spanDetails(chosen));
  }

  const took = h("dd");
  let drawnFacts = "";
  function drawFacts(state) {
    const cost = Math.max(log.costNanoUsd, Number(run?.cost_nano_usd ?? 0));
    const tokens = Math.max(log.tokens, Number(run?.tokens_used ?? 0));
    drawTook();
    const key = JSON.stringify([state, cost, tokens, run?.id, directory.name(run?.agent_id ?? "")]);
    if (key === drawnFacts) return;
    drawnFacts = key;
    const agent = log.started?.agent_id ?? run?.agent_id ?? "";
    const parent = run?.parent_run_id;
    const facts = [
      ["Agent", h("a", { href: `${to("runs")}?agent=${encodeURIComponent(agent)}` }, line(directory.name(agent), 60))],
      ["Model", run?.model ?? log.started?.model ?? ""], ["Duration", took], ["Tokens", count(tokens)], ["Cost", usd(cost)],
      ["Started", run ? fullTime(Date.parse(run.created_at)) : ""], ["By", run?.user_id ?? ""],
      parent && ["Started by run", h("a", { href: to("runs", parent) }, parent)],
      run?.conversation_id && ["Conversation", run.conversation_id], ["Run", h("code", {}, id)],
    ].filter(Boolean);
    replace(parts.facts, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), value === took ? took : h("dd", {}, value))));
  }

  function drawTook() {
    if (log.begun !== null) setText(took, duration((log.ended ?? Date.now()) - log.begun));
  }

  function askToCancel() {
    const reason = h("input", { type: "text", id: "cancel-reason", maxlength: "900" });
    const close = showDialog("Cancel this run?", [h("form.stack", { on: { submit: async (event) => {
      event.preventDefault();
      close();
      try {
        const receipt = await post(`/api/v1/runs/${segment(id)}/cancel`, { reason: reason.value });
        notify(receipt.was_stopped ? `Stopped. ${usd(receipt.released_nano_usd)} that was held for it is free again.` : `It had ended before: ${receipt.state}.`);
      } catch (error) {
        notify(error.message, { isError: true });
      }
    } } }, h("p", {}, "Its model call and tools are stopped. What it has done so far is kept and paid."),
      h("label", { for: "cancel-reason" }, "Why (optional)"), reason,
      h("div.actions", {}, h("button.danger", { type: "submit" }, "Cancel run"),
        h("button", { type: "button", on: { click: () => close() } }, "Keep it going")))]);
  }

  // j and k reach the timeline from wherever the focus is.
  const undo = [listKeys(() => [waterfall.list]), shortcut("x", "Cancel the run", () => cancel.hidden || askToCancel()),
    shortcut("u", "Back to the runs", () => { location.hash = to("runs"); })];
  const ticking = setInterval(drawTook, TICK_MS);
  const redraw = () => drawSoon();
  directory.addEventListener("change", redraw);
  Promise.all([readRun(), follow()]).then(() => signal.aborted || readRun()).catch((error) => {
    if (!signal.aborted) showProblem(main, error);
  });
  return () => {
    undo.forEach((each) => each());
    clearInterval(ticking);
    cancelAnimationFrame(frame);
    directory.removeEventListener("change", redraw);
    waterfall.close();
  };
}
