// Small marks: a run's state, a tool's effect. Colour never says it alone.

import { h } from "./dom.js";
import { stateName } from "./format.js";

/** The states of runs, in the order in which a filter offers them. */
export const STATES = ["pending", "running", "waiting", "paused", "completed", "failed", "cancelled", "budget_exceeded"];
export const isOver = (state) => STATES.indexOf(state) >= 4;

export const stateChip = (state) => h("span.chip", { "data-state": state }, h("span.dot", { "aria-hidden": "true" }), stateName(state));

export const tag = (text, kind = "") => h("span.tag", { "data-kind": kind || null }, text);
