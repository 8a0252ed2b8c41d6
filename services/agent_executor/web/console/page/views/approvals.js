// Tool calls that wait for a person: what is asked, why, and until when.

import { all, post, segment } from "../data/api.js";
import { h, replace, setText } from "../parts/dom.js";
import { curl, empty } from "../parts/empty.js";
import { ago, duration, line, prettyJson } from "../parts/format.js";
import { listKeys, shortcut } from "../parts/keyboard.js";
import { notify, showProblem } from "../parts/notice.js";
import { to } from "../router.js";

const MOST = 200;
const AGAIN_MS = 300;
const POLL_MS = 5_000;
const SOON_MS = 5 * 60_000;

export function approvalsView(main, { live, directory, signal }) {
  const list = h("ul.approvals");
  const place = h("div", {}, h("p.loading", {}, "Reading what waits…"));
  const cards = new Map();
  let soon = 0;
  replace(main, h("div.head", {}, h("h1", {}, "Approvals"), h("p.summary", {}, "Calls that wait for a person")), place);

  async function read() {
    try {
      const waiting = await all("/api/v1/approvals", "approvals", { most: MOST, signal });
      show(waiting);
    } catch (error) {
      if (!signal.aborted && !cards.size) showProblem(place, error, read);
    }
  }

  function show(waiting) {
    const ids = new Set(waiting.map((approval) => approval.tool_call_id));
    for (const [id, card] of cards) if (!ids.has(id)) drop(id, card);
    for (const approval of waiting) {
      if (cards.has(approval.tool_call_id)) continue;
      const card = new ApprovalCard(approval, directory, (approved) => { drop(approval.tool_call_id, approved); showIfEmpty(); });
      cards.set(approval.tool_call_id, card);
      list.append(card.element);
    }
    showIfEmpty();
  }

  function drop(id, card) {
    const hadFocus = card.element.contains(document.activeElement);
    const next = card.element.nextElementSibling ?? card.element.previousElementSibling;
    card.element.remove();
    cards.delete(id);
    // Whoever decides one after the other needs no mouse to get to the next.
    if (hadFocus) (next ?? main).focus();
  }

  function showIfEmpty() {
    if (cards.size) {
      if (!list.isConnected) replace(place, list);
      return;
    }
    replace(place, empty("Nothing waits for you", "Calls of tools wait here if an agent's approval policy says so:",
      curl("PATCH", "/api/v1/agents/$AGENT_ID", { approval_policy: { rules: [{ tool: "effect:unsafe", reason: "It cannot be taken back." }] } })));
  }

  const readSoon = () => { soon ||= setTimeout(() => { soon = 0; read(); }, AGAIN_MS); };
  live.addEventListener("event", ({ detail }) => {
    const { type } = detail.event;
    if (type.startsWith("approval_") || type === "run_finished") readSoon();
  }, { signal });
  live.addEventListener("gap", readSoon, { signal });
  directory.addEventListener("change", () => cards.forEach((card) => card.showAgent()), { signal });
  const current = () => [...cards.values()].find((card) => card.element.contains(document.activeElement));
  const undo = [listKeys(() => [...list.children]), shortcut("a", "Approve the call", () => current()?.approve.click()),
    shortcut("d", "Deny the call", () => current()?.deny.click()), shortcut("e", "Edit the arguments", () => current()?.edit.click())];
  const ticking = setInterval(() => cards.forEach((card) => card.tick()), 1_000);
  const polling = setInterval(() => live.state !== "live" && read(), POLL_MS);
  read();
  return () => {
    undo.forEach((each) => each());
    clearInterval(ticking);
    clearInterval(polling);
    clearTimeout(soon);
  };
}

class ApprovalCard {
  constructor(approval, directory, whenDecided) {
    Object.assign(this, { approval, directory, whenDecided });
    const id = approval.tool_call_id;
    this.agent = h("span");
    this.left = h("span.left");
    this.given = prettyJson(approval.arguments_json);
    this.shown = h("pre", { tabindex: "0", "aria-label": "Arguments" }, this.given);
    this.edited = h("textarea.code", { rows: String(Math.min(this.given.split("\n").length + 1, 16)), hidden: true, spellcheck: "false",
      "aria-label": "Arguments to use instead", value: this.given });
    this.reason = h("input", { type: "text", id: `reason-${id}`, maxlength: "900", placeholder: "The model is told why a call is denied" });
    this.trouble = h("div");
    this.approve = h("button.primary", { type: "button", on: { click: () => this.#decide("approve") } }, "Approve");
    this.deny = h("button.danger", { type: "button", on: { click: () => this.#decide("deny") } }, "Deny");
    this.edit = h("button", { type: "button", "aria-expanded": "false", on: { click: () => this.#edit() } }, "Edit arguments");
    this.element = h("li.card.approval", { tabindex: "-1", "aria-label": `${approval.tool_name}: ${approval.reason}` },
      h("div.card-head", {}, h("h2", {}, approval.tool_name), this.left),
      h("p", {}, approval.reason || "This call needs a decision."),
      h("p.meta", {}, "Agent ", this.agent, " · ", h("a", { href: to("runs", approval.run_id) }, "its run"), ` · asked ${ago(Date.parse(approval.created_at))}`),
      this.shown, this.edited,
      h("label.reason", { for: `reason-${id}` }, "Reason"), this.reason, this.trouble,
      h("div.actions", {}, this.approve, this.deny, this.edit));
    this.showAgent();
    this.tick();
  }

  showAgent() {
    setText(this.agent, line(this.directory.name(this.approval.agent_id), 60));
  }

  /** Counts down. */
  tick() {
    const left = Date.parse(this.approval.expires_at) - Date.now();
    setText(this.left, left > 0 ? `expires in ${duration(Math.ceil(left / 1000) * 1000)}` : "expired: it is denied");
    this.left.dataset.soon = String(left < SOON_MS);
  }

  #edit() {
    const isEdited = this.edited.hidden;
    this.edited.hidden = !isEdited;
    this.shown.hidden = isEdited;
    if (!isEdited) this.edited.value = this.given;
    setText(this.edit, isEdited ? "Discard the edit" : "Edit arguments");
    this.edit.setAttribute("aria-expanded", String(isEdited));
    setText(this.approve, isEdited ? "Approve with edit" : "Approve");
    if (isEdited) this.edited.focus();
  }

  async #decide(decision) {
    const { approval } = this;
    const hasEdit = decision === "approve" && !this.edited.hidden && this.edited.value !== this.given;
    const buttons = [this.approve, this.deny];
    buttons.forEach((button) => { button.disabled = true; });
    replace(this.trouble);
    try {
      await post(`/api/v1/runs/${segment(approval.run_id)}/approvals/${segment(approval.tool_call_id)}`,
        { decision, reason: this.reason.value, ...(hasEdit && { arguments_json: this.edited.value }) });
      notify(`${approval.tool_name} ${decision === "approve" ? "approved" : "denied"}.`);
      // The focus is on a button that is off; it belongs to the card until that is gone.
      this.element.focus();
      this.whenDecided(this);
    } catch (error) {
      showProblem(this.trouble, error);
      buttons.forEach((button) => { button.disabled = false; });
    }
  }
}
