// Draws spans as bars over time. Only the rows that are seen exist, so that a run of thousands of
// events scrolls as one of ten; to keyboards and screen readers it is a list of which one is chosen.

import { h, replace, setText } from "./dom.js";
import { duration, usd } from "./format.js";
import { longWaits, timeAxis } from "./time_axis.js";

const ROW_PX = 30;
const SPARE_ROWS = 6;
const TICK_MS = 200;
const KIND_NAMES = { model: "model call", tool: "tool call", approval: "approval", wait: "wait", mark: "event" };

export class Waterfall {
  #log;
  #onSelect;
  #rows = [];
  #selected = -1;
  #frame = 0;
  #timer = 0;
  #squeezes = null;
  #axis = null;

  /**
   * @param {import("../data/run_log.js").RunLog} log
   * @param {(span: object) => void} onSelect Is called with the span that was chosen.
   */
  constructor(log, onSelect) {
    this.#log = log;
    this.#onSelect = onSelect;
    this.axis = h("div.axis", { "aria-hidden": "true" });
    this.canvas = h("div.rows");
    this.scroller = h("div.scroller", {}, this.canvas);
    this.list = this.scroller;
    Object.entries({ role: "listbox", tabindex: "0", "aria-label": "Timeline" })
      .forEach(([name, value]) => this.list.setAttribute(name, value));
    this.squeeze = h("input", { type: "checkbox", on: { change: () => this.#setSqueeze(this.squeeze.checked) } });
    this.squeezeLabel = h("label.check", { hidden: true }, this.squeeze, "Squeeze waits");
    this.element = h("div.waterfall", {}, this.axis, this.scroller);
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.#onKey(event));
    this.canvas.addEventListener("click", (event) => this.#onClick(event));
    this.#watchSize = new ResizeObserver(() => this.draw());
    this.#watchSize.observe(this.scroller);
    this.#timer = setInterval(() => this.#log.ended === null && this.draw(), TICK_MS);
  }

  #watchSize;

  /** Stops drawing. */
  close() {
    clearInterval(this.#timer);
    cancelAnimationFrame(this.#frame);
    this.#watchSize.disconnect();
  }

  /** Draws at the next frame, once however often it is called. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  /** Chooses a span by its place. */
  select(index) {
    const spans = this.#log.spans;
    if (!spans.length) return;
    this.#selected = Math.min(Math.max(index, 0), spans.length - 1);
    const top = this.#selected * ROW_PX, view = this.scroller;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + ROW_PX > view.scrollTop + view.clientHeight) view.scrollTop = top + ROW_PX - view.clientHeight;
    this.#draw();
    this.#onSelect(spans[this.#selected]);
  }

  #setSqueeze(squeezes) {
    this.#squeezes = squeezes;
    this.draw();
  }

  #draw() {
    const { spans, begun, ended } = this.#log;
    if (begun === null) return;
    const until = ended ?? Math.max(Date.now(), spans.at(-1)?.begun ?? begun);
    const axis = this.#axisUntil(until);
    const wasAtEnd = this.scroller.scrollTop + this.scroller.clientHeight >= this.scroller.scrollHeight - ROW_PX;
    const height = `${spans.length * ROW_PX}px`;
    const hasGrown = this.canvas.style.height !== height;
    this.canvas.style.height = height;
    if (hasGrown && wasAtEnd && ended === null) this.scroller.scrollTop = this.scroller.scrollHeight;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW_PX) - SPARE_ROWS);
    const last = Math.min(spans.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / ROW_PX) + SPARE_ROWS);
    for (let index = first; index < last; index++) this.#fill(this.#row(index - first), index, axis, until);
    for (const spare of this.#rows.splice(Math.max(last - first, 0))) spare.element.remove();
    if (this.#selected >= 0) this.list.setAttribute("aria-activedescendant", `span-${this.#selected}`);
  }

  // Scrolling alone changes nothing of it.
  #axisUntil(until) {
    const { spans, begun } = this.#log;
    const key = `${until} ${spans.length} ${this.#squeezes}`;
    if (this.#axis?.key === key) return this.#axis;
    const waits = longWaits(begun, until, spans);
    this.squeezeLabel.hidden = !waits.length;
    // Until somebody has chosen, waits are squeezed where there are any.
    this.squeeze.checked = this.#squeezes ?? waits.length > 0;
    this.#axis = { key, ...timeAxis(begun, until, this.squeeze.checked ? waits : []) };
    this.#drawAxis(this.#axis);
    return this.#axis;
  }

  #drawAxis(axis) {
    const text = JSON.stringify(axis.ticks);
    if (this.axis.dataset.ticks === text) return;
    this.axis.dataset.ticks = text;
    replace(this.axis, h("div.track", {}, axis.ticks.map((tick) =>
      h("span.tick", { "data-wait": tick.isWait, "data-late": tick.isWait && tick.at > 0.9, style: { left: `${tick.at * 100}%` } }, tick.text))));
  }

  #row(place) {
    if (this.#rows[place]) return this.#rows[place];
    const row = { name: h("span.name"), gist: h("span.gist"), bar: h("span.bar"), took: h("span.took"), mark: h("span.kind", { "aria-hidden": "true" }) };
    row.element = h("div.row", { role: "option" },
      h("span.label", {}, row.mark, row.name, row.gist), h("span.track", {}, row.bar), row.took);
    this.canvas.append(row.element);
    this.#rows[place] = row;
    return row;
  }

  #fill(row, index, axis, until) {
    const span = this.#log.spans[index], { element } = row;
    const start = axis.place(span.begun), end = axis.place(span.ended ?? until);
    const took = span.kind === "mark" ? "" : duration((span.ended ?? until) - span.begun);
    element.id = `span-${index}`;
    element.style.transform = `translateY(${index * ROW_PX}px)`;
    Object.assign(element.dataset, { kind: span.kind, status: span.status, depth: String(span.depth), index: String(index) });
    element.setAttribute("aria-selected", String(index === this.#selected));
    element.setAttribute("aria-posinset", String(index + 1));
    element.setAttribute("aria-setsize", String(this.#log.spans.length));
    element.setAttribute("aria-label", [span.name, span.gist, KIND_NAMES[span.kind], span.outcome || span.status, took,
      span.costNanoUsd ? usd(span.costNanoUsd) : ""].filter(Boolean).join(", "));
    setText(row.name, span.name);
    setText(row.gist, span.gist ?? "");
    setText(row.took, took);
    row.bar.style.left = `${start * 100}%`;
    row.bar.style.width = `${Math.max(end - start, 0) * 100}%`;
  }

  #onClick(event) {
    const row = event.target.closest(".row");
    if (row) this.select(Number(row.dataset.index));
  }

  #onKey(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW_PX) - 1);
    const steps = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.select(this.#selected < 0 && step > 0 && step !== Infinity ? 0 : Math.min(Math.max(this.#selected + step, 0), this.#log.spans.length - 1));
  }
}
