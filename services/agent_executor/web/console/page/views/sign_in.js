// Signing in: an API key for a session.

import { signIn } from "../data/session.js";
import { h, replace } from "../parts/dom.js";
import { commandBlock } from "../parts/empty.js";
import { showProblem } from "../parts/notice.js";

export function signInView(root, message, whenDone) {
  const key = h("input", { type: "password", id: "key", name: "key", autocomplete: "off", spellcheck: "false", required: true,
    "aria-describedby": "key-note" });
  const trouble = h("div");
  const button = h("button.primary", { type: "submit" }, "Sign in");

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    replace(trouble);
    try {
      await signIn(key.value.trim());
      key.value = "";
      whenDone();
    } catch (error) {
      showProblem(trouble, error);
      key.focus();
      key.select();
    } finally {
      button.disabled = false;
    }
  }

  replace(root, h("main.alone", {}, h("div.card.sign-in", {},
    h("div.brand", {}, h("img", { src: "/console/icon.svg", alt: "", width: 28, height: 28 }), h("h1", {}, "Agent Executor")),
    message && h("p.note", { role: "status" }, message),
    h("form", { on: { submit } },
      h("label", { for: "key" }, "API key or token"), key,
      h("p.hint", { id: "key-note" }, "It is exchanged for a session of this browser and not kept."),
      trouble, button),
    h("details", {}, h("summary", {}, "Where do I get one?"),
      h("p", {}, "On the machine that runs the platform:"),
      commandBlock("agent-executor token"),
      h("p", {}, "or, with a token that holds api_key:write, a key that lasts:"),
      commandBlock(`curl ${location.origin}/api/v1/api-keys \\\n  -H "authorization: Bearer $TOKEN" \\\n  -d '{"name": "console"}'`)))));
  key.focus();
}
