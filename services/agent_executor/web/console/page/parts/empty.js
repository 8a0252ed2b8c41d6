// What is shown where there is nothing yet: what to do next, with the command to copy.

import { h, icon } from "./dom.js";
import { notify } from "./notice.js";

/**
 * Draws an empty state.
 * @param {string} title What there is not.
 * @param {string} text What to do.
 * @param {string} [command] The command that does it.
 * @param {...Node} actions Buttons and links beside it.
 */
export function empty(title, text, command, ...actions) {
  return h("div.empty", {},
    h("h2", {}, title),
    h("p", {}, text),
    command && commandBlock(command),
    actions.length > 0 && h("div.actions", {}, actions));
}

/** Draws a command with a button that copies it. */
export function commandBlock(command) {
  return h("div.command", {},
    h("pre", { tabindex: "0", "aria-label": "Command" }, h("code", {}, command)),
    h("button.plain", { type: "button", "aria-label": "Copy the command", on: { click: () => copy(command) } },
      icon("copy")));
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    notify("Copied.");
  } catch {
    notify("The browser does not let it be copied. Select it instead.", { isError: true });
  }
}

/** The curl command of a call of this very gateway. */
export function curl(method, path, body) {
  const lines = [`curl ${method === "GET" ? "" : `-X ${method} `}${location.origin}${path}`,
    '-H "authorization: Bearer $KEY"'];
  if (body) lines.push("-H 'content-type: application/json'", `-d '${JSON.stringify(body)}'`);
  return lines.join(" \\\n  ");
}
