// Starts a run of an agent.

import { post, segment } from "../data/api.js";
import { showDialog } from "../parts/dialog.js";
import { h, replace } from "../parts/dom.js";
import { curl, empty } from "../parts/empty.js";
import { line } from "../parts/format.js";
import { showProblem } from "../parts/notice.js";
import { go } from "../router.js";

/** Asks which agent is to do what, and goes to its run. */
export async function askToStartRun({ directory }, agentId = "") {
  const place = h("div", {}, h("p.loading", {}, "Reading the agents…"));
  const close = showDialog("New run", [place], { wide: true });
  try {
    const agents = (await directory.read()).filter((agent) => agent.is_active);
    if (agents.length) replace(place, form(agents, agentId, close));
    else replace(place, empty("No agents yet", "Create one first:", curl("POST", "/api/v1/agents", { name: "Math Assistant", tools: { calculator: true } })));
    place.querySelector("textarea")?.focus();
  } catch (error) {
    showProblem(place, error);
  }
}

function form(agents, agentId, close) {
  const agent = h("select", { id: "run-agent" }, agents.map((each) => h("option", { value: each.id, selected: each.id === agentId }, line(each.name, 60))));
  const input = h("textarea", { id: "run-input", rows: "5", required: true, placeholder: "What is 15 + 27?" });
  const most = h("input", { id: "run-cost", type: "number", min: "0", step: "any", placeholder: "No limit of its own" });
  const trouble = h("div");
  const button = h("button.primary", { type: "submit" }, "Start");

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    try {
      const run = await post(`/api/v1/agents/${segment(agent.value)}/runs`, { input: input.value, max_cost_usd: Number(most.value || 0) });
      close();
      go("runs", run.id);
    } catch (error) {
      showProblem(trouble, error);
    } finally {
      button.disabled = false;
    }
  }

  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
  });
  return h("form.stack", { on: { submit } },
    h("label", { for: "run-agent" }, "Agent"), agent,
    h("label", { for: "run-input" }, "Input"), input,
    h("label", { for: "run-cost" }, "At most, in US dollars"), most,
    trouble, h("div.actions", {}, button, h("span.hint", {}, "Ctrl + Enter")));
}
