// What was spent, on what, and what may still be spent.

import { all, get } from "../data/api.js";
import { columns, bars } from "../parts/bar_chart.js";
import { h, replace } from "../parts/dom.js";
import { curl, empty } from "../parts/empty.js";
import { compact, count, counted, line, usd } from "../parts/format.js";
import { showProblem } from "../parts/notice.js";
import { here, setQuery } from "../router.js";
import { budgetsSection } from "./budgets.js";

const HOUR_MS = 3_600_000;
const PERIODS = { day: ["24 hours", 24 * HOUR_MS], week: ["7 days", 7 * 24 * HOUR_MS], month: ["30 days", 30 * 24 * HOUR_MS], all: ["All time", 0] };
const GROUPS = { agent: ["agent", "agent_id"], model: ["model", "model"], tool: ["tool", "tool_name"], user: ["user", "user_id"], day: ["day", "day"] };
const SHOWN_BARS = 12;
const AGAIN_MS = 2_000;

export function costsView(main, { live, directory, signal }) {
  const { query } = here();
  const chosen = { by: GROUPS[query.get("by")] ? query.get("by") : "agent", period: PERIODS[query.get("period")] ? query.get("period") : "week" };
  const totals = h("dl.totals");
  const chart = h("div", {}, h("p.loading", {}, "Adding up…"));
  const budgets = h("div");
  let soon = 0;

  const group = (name, options, field) => h("fieldset.segments", {}, h("legend.visually-hidden", {}, name),
    Object.entries(options).map(([value, [title]]) => h("label", {}, h("input", { type: "radio", name: field, value, checked: chosen[field] === value,
      on: { change: () => { chosen[field] = value; setQuery(chosen); readUsage(); } } }), h("span", {}, title))));

  replace(main, h("div.head", {}, h("h1", {}, "Costs")), h("div.filters", {}, group("Period", PERIODS, "period"), group("Grouped by", GROUPS, "by")),
    totals, h("section.card", { "aria-label": "Costs by group" }, chart), budgets);

  async function readUsage() {
    const { by, period } = chosen;
    const time = PERIODS[period][1] ? { start_time: new Date(Date.now() - PERIODS[period][1]).toISOString() } : {};
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    try {
      const usage = await get("/api/v1/usage", { group_by: by, page_size: by === "day" ? 366 : 200, time_zone: by === "day" ? zone : "",
        order_by: by === "day" ? "time" : "", ...time }, { signal });
      if (by === chosen.by && period === chosen.period) draw(usage, by);
    } catch (error) {
      if (!signal.aborted) showProblem(chart, error, readUsage);
    }
  }

  function draw({ summaries, total, next_page_token: hasMore }, by) {
    const read = Number(total.input_tokens) + Number(total.cache_read_input_tokens) + Number(total.cache_creation_input_tokens_5m) + Number(total.cache_creation_input_tokens_1h);
    replace(totals, [["Cost", usd(total.cost_nano_usd)], ["Tokens", compact(total.tokens_used)], ["Input", compact(read)], ["Output", compact(total.output_tokens)],
      ["From cache", read ? `${Math.round((100 * Number(total.cache_read_input_tokens)) / read)} %` : "–"], ["Entries", compact(total.entry_count)]]
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    if (!summaries.length) {
      replace(chart, empty("Nothing was spent", "Costs appear as soon as a run has called a model. See them by the API as well:", curl("GET", `/api/v1/usage?group_by=${by}`)));
      return;
    }
    const items = summaries.map((summary) => ({ name: nameOf(summary, by), value: Number(summary.cost_nano_usd), summary }));
    replace(chart, by === "day" ? columns(items, usd, "Cost by day") : bars(items.slice(0, SHOWN_BARS), usd, `Cost by ${by}`), table(items, by),
      hasMore && h("p.hint", {}, `The ${count(items.length)} most expensive are shown; the totals count all.`));
  }

  const nameOf = (summary, by) => line(by === "agent" ? directory.name(summary.agent_id) : summary[GROUPS[by][1]], 60) || (by === "tool" ? "model calls" : "none");

  function table(items, by) {
    return h("details", {}, h("summary", {}, `All figures (${counted(items.length, "row")})`), h("div.table-wrap", {}, h("table", {},
      h("caption.visually-hidden", {}, `Costs by ${by}`),
      h("thead", {}, h("tr", {}, [by, "Cost", "Input", "Output", "Cache read", "Entries"].map((title, index) => h("th", { scope: "col", class: index ? "number" : null }, title)))),
      h("tbody", {}, items.map(({ name, summary }) => h("tr", {}, h("th", { scope: "row" }, name),
        [usd(summary.cost_nano_usd), ...["input_tokens", "output_tokens", "cache_read_input_tokens", "entry_count"].map((field) => count(summary[field]))]
          .map((text) => h("td.number", {}, text))))))));
  }

  async function readBudgets() {
    try {
      const [list, { events }] = await Promise.all([all("/api/v1/budgets", "budgets", { signal }), get("/api/v1/budget-events", { page_size: 20 }, { signal })]);
      replace(budgets, budgetsSection(list, events, directory));
    } catch (error) {
      if (!signal.aborted) showProblem(budgets, error, readBudgets);
    }
  }

  const readAll = () => { readUsage(); readBudgets(); };
  const readSoon = () => { soon ||= setTimeout(() => { soon = 0; if (!main.querySelector("details[open]")) readUsage(); readBudgets(); }, AGAIN_MS); };
  live.addEventListener("event", ({ detail }) => detail.event.type === "model_call_settled" && readSoon(), { signal });
  live.addEventListener("gap", readSoon, { signal });
  directory.addEventListener("change", readSoon, { signal });
  readAll();
  return () => clearTimeout(soon);
}
