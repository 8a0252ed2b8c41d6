// The organization's agents, and runs of them.

import { tag } from "../parts/chips.js";
import { h, icon, replace } from "../parts/dom.js";
import { curl, empty } from "../parts/empty.js";
import { ago, counted, fullTime, line, usd } from "../parts/format.js";
import { listKeys } from "../parts/keyboard.js";
import { showProblem } from "../parts/notice.js";
import { to } from "../router.js";
import { askToStartRun } from "./start_run.js";

const PAGE = 100;

export function agentsView(main, context) {
  const { directory, signal } = context;
  const place = h("div", {}, h("p.loading", {}, "Reading the agents…"));
  let shown = PAGE;
  replace(main, h("div.head", {}, h("h1", {}, "Agents")), place);

  async function read() {
    try {
      draw(await directory.read());
    } catch (error) {
      if (!signal.aborted) showProblem(place, error, read);
    }
  }

  function draw(agents) {
    if (signal.aborted) return;
    if (!agents.length) {
      replace(place, empty("No agents yet", "An agent is a model with instructions and tools. Create one:",
        curl("POST", "/api/v1/agents", { name: "Math Assistant", role: "math expert", tools: { calculator: true } })));
      return;
    }
    replace(place, h("ul.cards", {}, agents.slice(0, shown).map((agent) => card(agent, context))),
      agents.length > shown && h("button", { type: "button", on: { click: () => { shown += PAGE; draw(agents); } } }, "Show more"));
  }

  read();
  return listKeys(() => [...place.querySelectorAll(".cards > li")]);
}

function card(agent, context) {
  const tools = [...Object.entries(agent.tools).filter(([, isOn]) => isOn).map(([name]) => name),
    ...Object.entries(agent.custom_tools).filter(([, tool]) => tool.enabled).map(([name]) => name)];
  return h("li.card.agent-card", { tabindex: "0", "aria-label": agent.name, on: { keydown: (event) => {
    if (event.key === "Enter" && event.target === event.currentTarget) askToStartRun(context, agent.id);
  } } },
    h("div.card-head", {}, h("h2", {}, agent.name), !agent.is_active && tag("inactive", "warn"), tag(`v${agent.version}`)),
    h("p", {}, line(agent.description || agent.role || agent.instructions, 220) || h("span.hint", {}, "No description.")),
    h("p.meta", {}, h("code", {}, agent.model), ` · changed ${ago(Date.parse(agent.updated_at))}`),
    h("p.tags", { "aria-label": "Tools" }, tools.length ? tools.map((name) => tag(name)) : h("span.hint", {}, "No tools")),
    agent.approval_policy?.rules?.length > 0 && h("p.meta", {}, `${counted(agent.approval_policy.rules.length, "approval rule")}`),
    Number(agent.max_cost_nano_usd) > 0 && h("p.meta", {}, `At most ${usd(agent.max_cost_nano_usd)} a run`),
    agent.warnings.map((warning) => h("p.warning", {}, warning)),
    h("div.actions", { title: fullTime(Date.parse(agent.created_at)) },
      h("button", { type: "button", "aria-label": `New run of ${agent.name}`, disabled: !agent.is_active, on: { click: () => askToStartRun(context, agent.id) } }, icon("plus"), "New run"),
      h("a.button", { href: `${to("runs")}?agent=${encodeURIComponent(agent.id)}`, "aria-label": `Runs of ${agent.name}` }, "Its runs")));
}
