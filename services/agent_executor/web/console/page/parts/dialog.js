// A dialog in the browser's own element, which keeps the focus inside and gives it back.

import { h, icon } from "./dom.js";

/**
 * Shows a dialog and returns what closes it.
 * @param {string} title Its heading and name.
 * @param {Array} children What it holds.
 */
export function showDialog(title, children, { wide = false } = {}) {
  const dialog = h("dialog", { class: wide ? "wide" : null, "aria-labelledby": "dialog-title" },
    h("div.dialog-head", {},
      h("h2", { id: "dialog-title" }, title),
      h("button.plain", { type: "button", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("close"))),
    children);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return () => dialog.close();
}
