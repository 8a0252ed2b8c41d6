// Bars in SVG: lying ones by name, standing ones by day. What they show is in a table beside them.

import { h, s } from "./dom.js";

const BAR_PX = 18;
const COLUMNS_PX = 180;

/**
 * Draws lying bars.
 * @param {{name: string, value: number}[]} items
 * @param {(value: number) => string} format
 * @param {string} title
 */
export function bars(items, format, title) {
  const most = Math.max(...items.map((item) => item.value), 1);
  return h("figure.chart", { "aria-label": title }, h("figcaption", {}, title),
    h("ul.bars", {}, items.map((item) => h("li", {},
      h("span.bar-name", { title: item.name }, item.name),
      s("svg", { width: "100%", height: BAR_PX, "aria-hidden": "true" },
        s("rect.chart-bar", { width: `${Math.max((100 * Math.max(item.value, 0)) / most, 0.3)}%`, height: BAR_PX, rx: 3 })),
      h("span.bar-value", {}, format(item.value))))));
}

/** Draws standing bars, in the order in which they come; otherwise as `bars`. */
export function columns(items, format, title) {
  const most = Math.max(...items.map((item) => item.value), 1);
  const width = 100 / Math.max(items.length, 7);
  const height = (value) => Math.max((Math.max(value, 0) / most) * COLUMNS_PX, value > 0 ? 2 : 0);
  return h("figure.chart", {}, h("figcaption", {}, title, h("span.meta", {}, ` most: ${format(most)}`)),
    s("svg.columns", { width: "100%", height: COLUMNS_PX + 1, role: "img", "aria-label": `${title}: ${items.map((item) => `${item.name} ${format(item.value)}`).join(", ")}` },
      s("line.chart-base", { x1: 0, x2: "100%", y1: COLUMNS_PX + 0.5, y2: COLUMNS_PX + 0.5 }),
      items.map((item, index) => s("rect.chart-bar", { x: `${index * width + width * 0.12}%`, width: `${width * 0.76}%`,
        y: COLUMNS_PX - height(item.value), height: height(item.value), rx: 2 }, s("title", {}, `${item.name}: ${format(item.value)}`)))),
    h("div.column-names", { "aria-hidden": "true" }, h("span", {}, items[0].name), items.length > 1 && h("span", {}, items.at(-1).name)));
}
