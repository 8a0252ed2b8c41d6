// Tells what has happened: on the screen for a while, and to screen readers.

import { h, icon, replace } from "./dom.js";

const SHOWN_MS = 6_000;

/** Says something to screen readers alone. */
export function announce(text) {
  document.getElementById("announcements").textContent = text;
}

/** Shows a notice; errors stay until they are closed. */
export function notify(text, { isError = false } = {}) {
  const notice = h("div.notice", { role: isError ? "alert" : "status", "data-kind": isError ? "error" : "done" },
    h("span", {}, text),
    h("button.plain", { type: "button", "aria-label": "Close", on: { click: () => notice.remove() } }, icon("close")));
  document.getElementById("notices").append(notice);
  if (!isError) setTimeout(() => notice.remove(), SHOWN_MS);
}

/** Draws an error in the API's own words. */
export function problem(error, retry) {
  return h("div.problem", { role: "alert" },
    h("div", {}, h("strong", {}, error.message), error.code && h("code.code", {}, error.code)),
    hintOf(error) && h("p", {}, hintOf(error)),
    retry && h("button", { type: "button", on: { click: retry } }, "Try again"));
}

/** Shows an error in the place of what an element holds. */
export const showProblem = (element, error, retry) => replace(element, problem(error, retry));

const HINTS = {
  PERMISSION_DENIED: "Your key does not permit it. Sign in with one that does, or ask whoever made it.",
  UNAVAILABLE: "Nothing is lost: runs go on, and the console comes back by itself.",
  BUDGET_EXCEEDED: "Raise the budget, or wait until it resets: Costs shows how it stands.",
  RATE_LIMIT_EXCEEDED: "Wait a moment; the limit is per caller.",
  LIMIT_EXCEEDED: "Wait a moment, or ask for less at once.",
  SANDBOX_UNAVAILABLE: "The page Tools says what this host is missing.",
  DEADLINE_EXCEEDED: "It took longer than it may. Give the agent or the tool more time.",
  TOOL_NOT_FOUND: "The agent names a tool that is not registered. The page Tools lists what is.",
  UNKNOWN_MODEL: "Give the model a rate card, or choose one that has a price.",
  RUN_CANCELLED: "Somebody asked for it to be stopped; the timeline says who.",
  MODEL_ERROR: "The model's provider did not answer well. Start the run again, or look at the agent's key and model.",
  TOOL_EXECUTION_ERROR: "The tool itself failed; the model was told so.",
  OUTCOME_UNKNOWN: "Look where the tool acts whether it did. It is not repeated by itself.",
  AGENT_INACTIVE: "Somebody has turned the agent off.",
};

/** What can be done about an error; empty if nothing is known. */
export const hintOf = (error) => HINTS[error.code] ?? "";
