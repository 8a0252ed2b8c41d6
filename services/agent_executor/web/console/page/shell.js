// What is around every view: navigation, who is signed in, and whether the page is live.

import { all } from "./data/api.js";
import { h, icon, replace, setText } from "./parts/dom.js";
import { shortcut, showShortcuts } from "./parts/keyboard.js";
import { announce } from "./parts/notice.js";
import { switchTheme, themeSwitch } from "./parts/theme_switch.js";
import { go, to } from "./router.js";
import { askToStartRun } from "./views/start_run.js";

const PAGES = [["runs", "Runs"], ["approvals", "Approvals"], ["costs", "Costs"], ["agents", "Agents"], ["tools", "Tools"]];
const LIVE_NAMES = { connecting: "Connecting…", live: "Live", lost: "Reconnecting…" };
const MANY = 99;
const COUNT_DELAY_MS = 400;

export class Shell {
  #links = new Map();
  #undo;
  #badge = h("span.badge", { hidden: true });
  #live;
  #timer = 0;

  constructor(root, context, { signOut }) {
    this.context = context;
    this.main = h("main", { id: "main", tabindex: "-1" });
    this.#live = h("span.live", { role: "status", "data-state": "connecting" }, h("span.dot", { "aria-hidden": "true" }), h("span.nav-label"));
    replace(root, h("a.skip", { href: "#main", on: { click: (event) => { event.preventDefault(); this.main.focus(); } } }, "Skip to the content"),
      h("div.shell", {}, this.#header(signOut), this.main));
    this.#undo = this.#shortcuts();
    context.live.addEventListener("state", this.#showLive);
    context.live.addEventListener("event", this.#onEvent);
    context.live.addEventListener("gap", this.#countSoon);
    this.#showLive();
    this.#countSoon();
  }

  #header(signOut) {
    const { who } = this.context;
    const name = `${who.user_id} in ${who.organization_id}`;
    return h("header.side", {},
      h("div.brand", {}, h("img", { src: "/console/icon.svg", alt: "", width: 22, height: 22 }), h("span", {}, "Agent Executor")),
      h("nav", { "aria-label": "Pages" }, h("ul", {}, PAGES.map(([page, title]) => {
        const link = h("a.nav-link", { href: to(page) }, icon(page), h("span.nav-text", {}, title), page === "approvals" && this.#badge);
        this.#links.set(page, link);
        return h("li", {}, link);
      }))),
      h("div.side-foot", {}, this.#live, themeSwitch(),
        h("button.plain.nav-button", { type: "button", "aria-label": "Keyboard shortcuts", on: { click: showShortcuts } },
          icon("keyboard"), h("span.nav-label", {}, "Shortcuts")),
        h("div.who", { title: name }, h("span.who-user", {}, who.user_id), h("span.who-organization", {}, who.organization_id)),
        h("button.plain.nav-button", { type: "button", "aria-label": "Sign out", on: { click: signOut } }, icon("leave"), h("span.nav-label", {}, "Sign out"))));
  }

  #shortcuts() {
    const undo = PAGES.map(([page, title], index) => shortcut(String(index + 1), title, () => go(page)));
    undo.push(shortcut("n", "New run", () => askToStartRun(this.context)), shortcut("t", "Next theme", switchTheme),
      shortcut("?", "This list", showShortcuts));
    return () => undo.forEach((each) => each());
  }

  /** Empties the place for a view, moves the focus there and returns it. */
  opened(page) {
    for (const [name, link] of this.#links) {
      if (name === page) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    replace(this.main);
    scrollTo(0, 0);
    this.main.focus({ preventScroll: true });
    return this.main;
  }

  close() {
    this.#undo();
    clearTimeout(this.#timer);
    this.context.live.removeEventListener("state", this.#showLive);
    this.context.live.removeEventListener("event", this.#onEvent);
    this.context.live.removeEventListener("gap", this.#countSoon);
  }

  #showLive = () => {
    const { state } = this.context.live;
    this.#live.dataset.state = state;
    setText(this.#live.lastChild, LIVE_NAMES[state]);
  };

  #onEvent = ({ detail }) => {
    const { type } = detail.event;
    if (type === "approval_requested") announce(`A call of ${detail.event.approval_requested.tool_name} waits for approval.`);
    if (type.startsWith("approval_") || type === "run_finished") this.#countSoon();
  };

  #countSoon = () => {
    this.#timer ||= setTimeout(async () => {
      this.#timer = 0;
      // Without the permission to see them there is nothing to count.
      const waiting = await all("/api/v1/approvals", "approvals", { most: MANY + 1 }).catch(() => []);
      this.#badge.hidden = waiting.length === 0;
      setText(this.#badge, waiting.length > MANY ? `${MANY}+` : String(waiting.length));
      this.#badge.setAttribute("aria-label", `${waiting.length} waiting`);
    }, COUNT_DELAY_MS);
  };
}
