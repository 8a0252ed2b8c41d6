// Shortcuts of one key, which can be turned off, and moving through lists.

import { recall, remember } from "../data/storage.js";
import { h } from "./dom.js";
import { showDialog } from "./dialog.js";

const shortcuts = new Map();
let isOn = recall("shortcuts", "on") === "on";

/** Gives a key a meaning until the function that is returned is called. */
export function shortcut(key, meaning, action) {
  const entry = { meaning, action };
  shortcuts.set(key, entry);
  return () => shortcuts.get(key) === entry && shortcuts.delete(key);
}

/** Begins to listen. */
export function listen() {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]") || isWriting(event.target)) return;
    // With the shortcuts off, the one that says so is left, to turn them on again.
    const entry = isOn || event.key === "?" ? shortcuts.get(event.key) : undefined;
    if (!entry) return;
    event.preventDefault();
    entry.action(event);
  });
}

/** Whether keys are text where they go. */
const isWriting = (target) =>
  target instanceof Element && target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");

/** Moves the focus through the items of a list by j and k; Enter is the item's own. Returns what undoes it. */
export function listKeys(items) {
  const step = (by) => {
    const all = items();
    if (!all.length) return;
    const at = all.findIndex((item) => item.contains(document.activeElement));
    const to = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
    all[to].focus();
    all[to].scrollIntoView({ block: "nearest" });
  };
  const undo = [shortcut("j", "Next item", () => step(1)), shortcut("k", "Previous item", () => step(-1))];
  return () => undo.forEach((each) => each());
}

/** Shows which keys mean something here. */
export function showShortcuts() {
  const toggle = h("input", { type: "checkbox", checked: isOn, on: { change: () => {
    isOn = toggle.checked;
    remember("shortcuts", isOn ? "" : "off");
  } } });
  showDialog("Keyboard shortcuts", [
    h("dl.keys", {}, [...shortcuts].map(([key, { meaning }]) =>
      h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, meaning))),
      h("div", {}, h("dt", {}, h("kbd", {}, "Enter")), h("dd", {}, "Open or do what is focused")),
      h("div", {}, h("dt", {}, h("kbd", {}, "Esc")), h("dd", {}, "Close what is open"))),
    h("label.check", {}, toggle, "Shortcuts of one key are on"),
  ]);
}
