// Maps times to places between 0 and 1. Long waits can be squeezed, or an approval that took a night
// would leave nothing to be seen of the work.

import { duration } from "./format.js";

const SQUEEZED_SHARE = 0.06;
const SQUEEZED_MOST = 0.4;
// A pause in the work is squeezed if it takes more than this part of the work's own time.
const LONG_PART = 0.25;
const LONG_MS = 1_000;

/**
 * @param {number} from Where the axis begins, in milliseconds.
 * @param {number} until Where it ends.
 * @param {[number, number][]} waits What is squeezed of it, from when to when, in order; see `longWaits`.
 */
export function timeAxis(from, until, waits) {
  const total = Math.max(until - from, 1);
  const share = waits.length ? Math.min(SQUEEZED_SHARE, SQUEEZED_MOST / waits.length) : 0;
  const waited = waits.reduce((sum, [begun, ended]) => sum + ended - begun, 0);
  const scale = (1 - share * waits.length) / Math.max(total - waited, 1);
  const place = (time) => {
    let worked = Math.min(Math.max(time - from, 0), total), squeezed = 0;
    for (const [begun, ended] of waits) {
      if (time <= begun) break;
      const within = Math.min(time, ended) - begun;
      worked -= within;
      squeezed += share * (within / (ended - begun));
    }
    return worked * scale + squeezed;
  };
  return { place, ticks: waits.length ? waitTicks(waits, place) : evenTicks(from, total, place) };
}

/** Returns the times in which nothing worked, if they are long beside the work. */
export function longWaits(from, until, spans) {
  const working = spans.filter((span) => span.kind === "model" || span.kind === "tool")
    .map((span) => [span.begun, span.ended ?? until]).sort((one, other) => one[0] - other[0]);
  const pauses = [];
  let worked = 0, reached = from;
  for (const [begun, ended] of working) {
    if (begun > reached) pauses.push([reached, begun]);
    worked += Math.max(0, ended - Math.max(begun, reached));
    reached = Math.max(reached, ended);
  }
  if (until > reached) pauses.push([reached, until]);
  return pauses.filter(([begun, ended]) => ended - begun > Math.max(LONG_MS, worked * LONG_PART));
}

const waitTicks = (waits, place) =>
  waits.map(([begun, ended]) => ({ at: (place(begun) + place(ended)) / 2, text: `⋯ ${duration(ended - begun)}`, isWait: true }));

function evenTicks(from, total, place) {
  const rough = total / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? power * 10;
  const ticks = [];
  for (let after = 0; after <= total * 0.97; after += step) ticks.push({ at: place(from + after), text: after ? duration(after) : "0" });
  return ticks;
}
