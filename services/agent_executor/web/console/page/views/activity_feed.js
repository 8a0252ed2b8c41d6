// What happens in the organization right now, the newest first.

import { h, replace } from "../parts/dom.js";
import { clock, line, stateName, usd } from "../parts/format.js";
import { to } from "../router.js";

const WORDS = {
  run_started: () => ["started", ""],
  run_resumed: (event) => [`resumed, attempt ${event.attempt}`, "warn"],
  model_call_started: null,
  model_call_settled: null,
  model_call_completed: (event) => [`model answered: ${event.stop_reason.replaceAll("_", " ")}`, ""],
  model_call_failed: (event) => [`model call failed: ${event.code}${event.will_retry ? ", tried again" : ""}`, "bad"],
  model_call_batched: () => ["waits for its batch", "warn"],
  tool_call_started: (event) => [`calls ${event.tool_name}`, ""],
  tool_call_completed: ({ tool_result: result }) => [`${result.tool_name} ${result.success ? "done" : result.code}`, result.success ? "good" : "bad"],
  approval_requested: (event) => [`${event.tool_name} waits for approval`, "warn"],
  approval_resolved: (event) => [`call ${event.decision}${event.user_id ? ` by ${event.user_id}` : ""}`, event.decision === "approved" ? "good" : "bad"],
  run_paused: () => ["waits for money", "warn"],
  run_continued: () => ["goes on", ""],
  cancel_requested: () => ["asked to stop", "warn"],
  run_finished: (event) => [stateName(event.state), event.state === "completed" ? "good" : "bad"],
  model_selected: (event) => [`model chosen: ${event.model}`, ""],
  history_trimmed: () => ["history trimmed", ""],
};

/** Draws the feed; it ends with the view. */
export function activityFeed({ history, directory, signal }) {
  const list = h("ol.feed-list");
  const note = h("p.hint", {}, "What happens in your organization's runs appears here, as it happens.");
  const lines = new Map();

  function draw() {
    const shown = history.activities.filter(({ event }) => WORDS[event.type]);
    const kept = new Set(shown);
    for (const [activity, line] of lines) {
      if (kept.has(activity)) continue;
      line.remove();
      lines.delete(activity);
    }
    let at = list.firstElementChild;
    for (const activity of shown) {
      const line = lines.get(activity);
      if (line) at = line.nextElementSibling;
      else lines.set(activity, list.insertBefore(lineOf(activity, directory), at));
    }
    note.hidden = shown.length > 0;
  }

  history.addEventListener("change", draw, { signal });
  directory.addEventListener("change", () => { replace(list); lines.clear(); draw(); }, { signal });
  draw();
  return h("aside.feed", { "aria-label": "Activity", tabindex: "0" }, h("h2", {}, "Activity"), note, list);
}

function lineOf(activity, directory) {
  const { event } = activity;
  const [text, kind] = WORDS[event.type](event[event.type] ?? {});
  const cost = event.type === "run_finished" && Number(activity.cost_nano_usd) ? usd(activity.cost_nano_usd) : "";
  return h("li", { "data-kind": kind || null },
    h("time", { datetime: event.created_at }, clock(Date.parse(event.created_at)).slice(0, 8)),
    h("a", { href: to("runs", event.run_id) }, line(directory.name(activity.agent_id), 32)), cost && h("span.feed-cost", {}, cost),
    h("span.feed-text", {}, line(text, 90)));
}
