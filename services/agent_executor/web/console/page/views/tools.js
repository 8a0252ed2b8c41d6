// The tools that agents can use, and whether this host can isolate those that people write.

import { all, get, segment } from "../data/api.js";
import { tag } from "../parts/chips.js";
import { h, replace } from "../parts/dom.js";
import { curl, empty } from "../parts/empty.js";
import { ago, counted, duration, fullTime } from "../parts/format.js";
import { listKeys } from "../parts/keyboard.js";
import { problem, showProblem } from "../parts/notice.js";
import { textBlock } from "../parts/span_details.js";
import { to } from "../router.js";

const EFFECT_KINDS = { read_only: "good", idempotent: "", unsafe: "warn" };
const TIERS = { namespaces: "Landlock, seccomp and limits, in namespaces of its own", landlock: "Landlock, seccomp and limits, without namespaces", none: "none" };

export function toolsView(main, { signal }) {
  const sandbox = h("div");
  const place = h("div", {}, h("p.loading", {}, "Reading the tools…"));
  replace(main, h("div.head", {}, h("h1", {}, "Tools")), sandbox, place);

  async function readTools() {
    try {
      const tools = await all("/api/v1/tools", "tools", { signal });
      const [own, builtIn] = [tools.filter((tool) => !tool.built_in), tools.filter((tool) => tool.built_in)];
      replace(place, group("Your own", own) ?? empty("No tools of your own yet", "Write one in Python. It runs in the sandbox, never in the platform.",
        curl("POST", "/api/v1/tools", { name: "shout", description: "Writes a text in capitals.", class_name: "Shout", source: "…" })),
      group("Built in", builtIn));
    } catch (error) {
      if (!signal.aborted) showProblem(place, error, readTools);
    }
  }

  async function readSandbox() {
    try {
      replace(sandbox, sandboxCard(await get("/api/v1/sandbox", {}, { signal })));
    } catch (error) {
      if (!signal.aborted) replace(sandbox, problem(error, readSandbox));
    }
  }

  const group = (title, tools) => (tools.length ? h("section", {}, h("h2.group", {}, title), h("ul.tools", {}, tools.map((tool) => card(tool, signal)))) : null);
  readTools();
  readSandbox();
  return listKeys(() => [...place.querySelectorAll("summary")]);
}

function sandboxCard(sandbox) {
  return h("section.card.sandbox", { "data-available": String(sandbox.available) },
    h("div.card-head", {}, h("h2", {}, "Sandbox"), tag(sandbox.available ? "available" : "not available", sandbox.available ? "good" : "bad")),
    h("p", {}, sandbox.available ? `${TIERS[sandbox.tier] ?? sandbox.tier}. Landlock ABI ${sandbox.landlock_abi}.` : "Tools that people write are refused on this host."),
    sandbox.missing.length > 0 && h("ul", {}, sandbox.missing.map((each) => h("li", {}, each))),
    sandbox.remedy && h("p", {}, sandbox.remedy),
    h("p.meta", {}, `${counted(sandbox.idle_workers, "worker")} idle, ${sandbox.busy_workers} busy`,
      sandbox.checked_at && h("span", { title: fullTime(Date.parse(sandbox.checked_at)) }, ` · attacks last tried ${ago(Date.parse(sandbox.checked_at))}`)));
}

function card(tool, signal) {
  const more = h("div.tool-more");
  const details = h("details.card", { on: { toggle: () => details.open && !more.hasChildNodes() && fill(tool, more, signal) } },
    h("summary", {}, h("span.tool-name", {}, tool.name), h("span.tool-text", {}, tool.description),
      h("span.tags", {}, tag(tool.effect.replace("_", " "), EFFECT_KINDS[tool.effect]), tool.requires_approval && tag("asks first", "warn"),
        tool.mcp_server && tag(`MCP ${tool.mcp_server}`), !tool.enabled && tag("off", "bad"))), more);
  return h("li", {}, details);
}

async function fill(tool, more, signal) {
  const facts = [
    tool.timeout_seconds > 0 && ["Time limit", duration(tool.timeout_seconds * 1000)],
    tool.cache_ttl_seconds > 0 && ["Results kept", duration(tool.cache_ttl_seconds * 1000)],
    tool.allowed_origins.length > 0 && ["May reach", tool.allowed_origins.join(", ")],
    tool.version && ["Version", `${tool.version.slice(0, 12)}…`],
    tool.created_at && ["Registered", fullTime(Date.parse(tool.created_at))],
  ].filter(Boolean);
  const used = h("dd", {}, "…");
  replace(more, h("dl.facts", {}, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))), h("div", {}, h("dt", {}, "Last call"), used)),
    tool.findings.map((finding) => h("p.warning", {}, finding)),
    textBlock("Schema of the arguments", JSON.stringify(tool.input_schema, null, 2)));
  try {
    const { audit_events: [last] } = await get("/api/v1/audit-events", { tool_name: tool.name, page_size: 1 }, { signal });
    replace(used, last ? [`${ago(Date.parse(last.created_at))}, ${last.decision}, ${last.outcome} `,
      last.run_id && h("a", { href: to("runs", last.run_id) }, "run")] : "never");
    if (!tool.built_in && !tool.mcp_server) {
      const { source } = await get(`/api/v1/tools/${segment(tool.name)}`, {}, { signal });
      if (source) more.append(textBlock("Source", source));
    }
  } catch (error) {
    if (!signal.aborted) replace(used, error.message);
  }
}
