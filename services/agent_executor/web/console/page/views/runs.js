// The organization's runs, as they happen.

import { get } from "../data/api.js";
import { stateChip, STATES } from "../parts/chips.js";
import { h, icon, replace, setText } from "../parts/dom.js";
import { curl, empty } from "../parts/empty.js";
import { compact, count, counted, line, stateName, usd } from "../parts/format.js";
import { listKeys, shortcut } from "../parts/keyboard.js";
import { showProblem } from "../parts/notice.js";
import { here, setQuery } from "../router.js";
import { activityFeed } from "./activity_feed.js";
import { RunRow } from "./run_row.js";
import { askToStartRun } from "./start_run.js";

const PAGE_SIZE = 50;
const AGAIN_MS = 300;
const POLL_MS = 5_000;
// What was begun before the page was opened is not all told.
const REFRESH_MS = 30_000;
const TICK_MS = 1_000;

export function runsView(main, context) {
  const { live, directory, signal } = context;
  const { query } = here();
  const filter = { state: query.get("state") ?? "", agent: query.get("agent") ?? "", text: query.get("text") ?? "" };
  const rows = new Map();
  const body = h("tbody");
  const more = h("button", { type: "button", hidden: true, on: { click: () => read(true) } }, "Show more");
  const place = h("div");
  const summary = h("p.summary", { role: "status" });
  const table = h("div.table-wrap", {}, h("table.runs", {}, h("caption.visually-hidden", {}, "Runs, newest first"),
    h("thead", {}, h("tr", {}, ["State", "Input and agent", "Tokens", "Cost", "Duration", "Started"].map((title, index) =>
      h("th", { scope: "col", class: index >= 2 ? "number" : null }, title)))), body));
  const agents = h("select", { "aria-label": "Agent", on: { change: () => refilter("agent", agents.value) } });
  const states = h("select", { "aria-label": "State", on: { change: () => refilter("state", states.value) } },
    h("option", { value: "" }, "All states"), STATES.map((state) => h("option", { value: state }, stateName(state))));
  const text = h("input", { type: "search", placeholder: "Filter by text  /", "aria-label": "Filter by text", value: filter.text,
    on: { input: () => { filter.text = text.value; keepFilter(); showRows(); } } });
  states.value = filter.state;
  let nextPage = "";
  let isReading = false;
  let isWanted = false;
  let soon = 0;

  replace(main, h("div.head", {}, h("h1", {}, "Runs"),
    h("button.primary", { type: "button", on: { click: () => askToStartRun(context) } }, icon("plus"), "New run")),
    h("div.filters", { role: "search" }, text, agents, states, summary),
    h("div.runs-layout", {}, h("div", {}, place, more), activityFeed(context)));

  function refilter(name, value) {
    filter[name] = value;
    keepFilter();
    rows.clear();
    read();
  }

  function keepFilter() {
    setQuery(filter);
  }

  async function read(isMore = false) {
    if (isReading) {
      isWanted = true;
      return;
    }
    isReading = true;
    const asked = { ...filter };
    try {
      const page = await get("/api/v1/runs", { page_size: PAGE_SIZE, page_token: isMore ? nextPage : "", state: asked.state, agent_id: asked.agent }, { signal });
      if (asked.state !== filter.state || asked.agent !== filter.agent) {
        isWanted = true;
        return;
      }
      for (const run of page.runs) take(run);
      if (isMore || rows.size <= PAGE_SIZE) nextPage = page.next_page_token;
      more.hidden = !nextPage;
      showRows();
    } catch (error) {
      if (!signal.aborted && !rows.size) showProblem(place, error, () => read());
    } finally {
      isReading = false;
      if (isWanted && !signal.aborted) {
        isWanted = false;
        readSoon();
      }
    }
  }

  function readSoon() {
    soon ||= setTimeout(() => { soon = 0; read(); }, AGAIN_MS);
  }

  function take(run) {
    const row = rows.get(run.id);
    if (row) row.update(run);
    else rows.set(run.id, new RunRow(run, directory));
  }

  function matches(row) {
    const { run } = row;
    if (filter.state && run.state !== filter.state) return false;
    if (filter.agent && run.agent_id !== filter.agent) return false;
    const wanted = filter.text.toLowerCase();
    return !wanted || [run.input, run.id, run.model, run.user_id, run.error, directory.name(run.agent_id), run.output?.response]
      .some((part) => part?.toLowerCase().includes(wanted));
  }

  function showRows() {
    const all = [...rows.values()].sort((one, other) => other.created - one.created || (one.run.id < other.run.id ? 1 : -1));
    const shown = all.filter(matches);
    if (!rows.size || !shown.length) {
      setText(summary, "");
      replace(place, isFiltered() ? nothingMatches() : noRuns());
      return;
    }
    if (!table.isConnected) replace(place, table);
    // Only what moved is touched, so that the focus stays where it is.
    let at = body.firstElementChild;
    for (const row of shown) {
      if (at === row.element) at = at.nextElementSibling;
      else body.insertBefore(row.element, at);
    }
    while (at) {
      const next = at.nextElementSibling;
      at.remove();
      at = next;
    }
    const cost = shown.reduce((sum, row) => sum + Number(row.run.cost_nano_usd), 0);
    const tokens = shown.reduce((sum, row) => sum + Number(row.run.tokens_used), 0);
    setText(summary, `${counted(shown.length, "run")}${nextPage ? " shown" : ""} · ${compact(tokens)} tokens · ${usd(cost)}`);
  }

  const isFiltered = () => Boolean(filter.state || filter.agent || filter.text);

  function nothingMatches() {
    return empty("No run matches", `None of the ${count(rows.size)} runs that were read matches the filters${nextPage ? "; there are older ones" : ""}.`, "",
      h("button", { type: "button", on: { click: () => {
        Object.assign(filter, { state: "", agent: "", text: "" });
        text.value = states.value = agents.value = "";
        keepFilter();
        rows.clear();
        read();
      } } }, "Clear the filters"));
  }

  function noRuns() {
    const agent = directory.agents[0];
    return agent
      ? empty("No runs yet", "Start one here or by the API; it appears by itself.",
        curl("POST", `/api/v1/agents/${agent.id}/runs`, { input: "What is 15 + 27?" }),
        h("button.primary", { type: "button", on: { click: () => askToStartRun(context) } }, "New run"))
      : empty("No agents yet", "A run is an execution of an agent. Create one first:",
        curl("POST", "/api/v1/agents", { name: "Math Assistant", tools: { calculator: true } }));
  }

  function showAgents() {
    replace(agents, h("option", { value: "" }, "All agents"),
      directory.agents.map((agent) => h("option", { value: agent.id }, line(agent.name, 40))));
    if (filter.agent && !directory.get(filter.agent)) agents.append(h("option", { value: filter.agent }, filter.agent));
    agents.value = filter.agent;
    for (const row of rows.values()) row.draw();
    if (!rows.size && !isReading) showRows();
  }

  function onEvent({ detail: activity }) {
    const row = rows.get(activity.event.run_id);
    if (!row) {
      readSoon();
      return;
    }
    row.hear(activity);
    if (filter.state) showRows();
  }

  const rowLinks = () => [...body.querySelectorAll("a.row-link")];
  const undo = [listKeys(rowLinks), shortcut("/", "Filter by text", () => text.focus())];
  const listeners = [[live, "event", onEvent], [live, "gap", readSoon], [directory, "change", showAgents]];
  for (const [target, type, listener] of listeners) target.addEventListener(type, listener);
  const ticking = setInterval(() => { for (const row of rows.values()) row.tick(); }, TICK_MS);
  const polling = setInterval(() => live.state !== "live" && read(), POLL_MS);
  const refreshing = setInterval(() => document.hidden || read(), REFRESH_MS);
  showAgents();
  replace(place, h("p.loading", {}, "Reading the runs…"));
  read();
  return () => {
    undo.forEach((each) => each());
    for (const [target, type, listener] of listeners) target.removeEventListener(type, listener);
    clearInterval(ticking);
    clearInterval(polling);
    clearInterval(refreshing);
    clearTimeout(soon);
  };
}
