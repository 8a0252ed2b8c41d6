// Budgets: how much of each is spent and held, and what has happened to them.

import { h, s } from "../parts/dom.js";
import { curl, empty } from "../parts/empty.js";
import { ago, duration, fullTime, line, usd } from "../parts/format.js";

const WINDOWS = { total: "in all", day: "a day", month: "a month" };

/** Draws budgets and their events. */
export function budgetsSection(budgets, events, directory) {
  return h("section", { "aria-labelledby": "budgets-title" }, h("h2.group", { id: "budgets-title" }, "Budgets"),
    budgets.length ? h("ul.budgets", {}, budgets.map((budget) => budgetCard(budget, directory)))
      : empty("No budgets yet", "A model call is made only if its worst case fits every budget that applies.",
        curl("PUT", "/api/v1/budgets/monthly", { window: "month", limit_usd: 50, alert_percents: [50, 80, 100] })),
    events.length > 0 && [h("h2.group", {}, "What happened to them"), h("ul.budget-events", {}, events.map(eventLine))]);
}

function budgetCard(budget, directory) {
  const limit = Number(budget.limit_nano_usd), settled = Number(budget.settled_nano_usd), held = Number(budget.reserved_nano_usd);
  const left = Number(budget.left_nano_usd);
  const share = limit ? settled / limit : 1;
  const percent = Math.round(share * 100);
  const level = share >= 1 ? "over" : budget.alert_percents.some((alert) => alert < 100 && percent >= alert) ? "warn" : "fine";
  const text = `${usd(settled)} of ${usd(limit)} spent, ${usd(held)} held`;
  return h("li.card.budget", { "data-level": level },
    h("div.card-head", {}, h("h3", {}, budget.id), h("strong.percent", {}, `${percent} %`)),
    h("p.meta", {}, `${usd(limit)} ${WINDOWS[budget.window] ?? budget.window}${scopeOf(budget, directory)}`),
    meter(share, limit ? held / limit : 0, budget.alert_percents, text),
    h("p.meta", {}, left < 0 ? `${text} · overrun by ${usd(-left)}` : `${text} · ${usd(left)} left`,
      budget.resets_at && h("span", { title: fullTime(Date.parse(budget.resets_at)) }, ` · resets in ${duration(Date.parse(budget.resets_at) - Date.now())}`)));
}

function scopeOf(budget, directory) {
  const parts = [budget.agent_id && `agent ${line(directory.name(budget.agent_id), 40)}`, budget.user_id && `user ${budget.user_id}`, budget.run_id && `run ${budget.run_id}`];
  const scope = parts.filter(Boolean).join(", ");
  return scope ? ` for ${scope}` : " for the organization";
}

// What is spent, then what is held, and a line at each threshold.
function meter(share, held, alerts, text) {
  const spent = Math.min(share, 1), reserved = Math.min(held, 1 - spent);
  const percent = (part) => `${part * 100}%`;
  return s("svg.meter", { role: "img", "aria-label": text, width: "100%", height: 12 },
    s("rect.meter-room", { width: "100%", height: 12, rx: 3 }),
    s("rect.meter-spent", { width: percent(spent), height: 12, rx: 3 }),
    s("rect.meter-held", { x: percent(spent), width: percent(reserved), height: 12 }),
    alerts.filter((alert) => alert < 100).map((alert) => s("line.meter-alert", { x1: `${alert}%`, x2: `${alert}%`, y1: 0, y2: 12 })));
}

function eventLine(event) {
  const what = event.kind === "overrun" ? "was overrun" : `reached ${event.percent} %`;
  return h("li", { "data-kind": event.kind }, h("strong", {}, event.budget_id), ` ${what}: ${usd(event.settled_nano_usd)} of ${usd(event.limit_nano_usd)} `,
    h("time.meta", { datetime: event.created_at, title: fullTime(Date.parse(event.created_at)) }, ago(Date.parse(event.created_at))));
}
