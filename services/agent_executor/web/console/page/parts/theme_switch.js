// Chooses between the system's theme, light and dark. `theme.js` has put on the chosen one before.

import { recall, remember } from "../data/storage.js";
import { h, icon, replace } from "./dom.js";
import { announce } from "./notice.js";

const NEXT = { "": "light", light: "dark", dark: "" };
const NAMES = { "": "system", light: "light", dark: "dark" };
const ICONS = { "": "system", light: "sun", dark: "moon" };

let theme = recall("theme");
let button;

/** Makes the button; there is one. */
export function themeSwitch() {
  button = h("button.plain.nav-button", { type: "button", on: { click: switchTheme } });
  show();
  return button;
}

/** Goes on to the next theme. */
export function switchTheme() {
  theme = NEXT[theme] ?? "";
  remember("theme", theme);
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  show();
  announce(`Theme: ${NAMES[theme]}.`);
}

function show() {
  button?.setAttribute("aria-label", `Theme: ${NAMES[theme] ?? "system"}`);
  if (button) replace(button, icon(ICONS[theme] ?? "system"), h("span.nav-label", {}, `Theme: ${NAMES[theme] ?? "system"}`));
}
