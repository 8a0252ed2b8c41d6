// What happens in the organization right now, the newest first.

import { h, setText } from "../parts/dom.js";
import { clock, line, stateName, usd } from "../parts/format.js";
import { to } from "../router.js";

const MOST = 60;

const WORDS = {
  run_started: () => ["started", ""],
  run_resumed: (event) => [`taken over, attempt ${event.attempt}`, "warn"],
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
export function activityFeed({ live, directory, signal }) {
  const list = h("ol.feed-list");
  const note = h("p.hint", {}, "What happens in your organization's runs appears here, as it happens.");
  const feed = h("aside.feed", { "aria-label": "Activity" }, h("h2", {}, "Activity"), note, list);

  live.addEventListener("event", ({ detail: activity }) => {
    const { event } = activity;
    const words = WORDS[event.type]?.(event[event.type] ?? {});
    if (!words) return;
    const [text, kind] = words;
    const cost = event.type === "run_finished" && Number(activity.cost_nano_usd) ? usd(activity.cost_nano_usd) : "";
    const agent = h("a", { href: to("runs", event.run_id) });
    setText(agent, line(directory.name(activity.agent_id), 32));
    list.prepend(h("li", { "data-kind": kind || null },
      h("time", { datetime: event.created_at }, clock(Date.parse(event.created_at)).slice(0, 8)), agent,
      h("span.feed-text", {}, line(text, 90)), cost && h("span.feed-cost", {}, cost)));
    while (list.children.length > MOST) list.lastElementChild.remove();
    note.hidden = true;
  }, { signal });
  return feed;
}
