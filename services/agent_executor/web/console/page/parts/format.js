// Writes amounts, counts, durations and times for people.

const NANO = 1e9;
const COUNT = new Intl.NumberFormat("en-US");
const COMPACT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** Writes nano-dollars (a number or a string of digits) as dollars, with as many places as say something. */
export function usd(nanoUsd) {
  const dollars = Number(nanoUsd ?? 0) / NANO;
  const size = Math.abs(dollars);
  if (size === 0) return "$0";
  const places = size >= 1 ? 2 : size >= 0.01 ? 4 : 6;
  if (size < 0.000001) return dollars < 0 ? "−<$0.000001" : "<$0.000001";
  return `${dollars < 0 ? "−" : ""}$${size.toLocaleString("en-US", {
    minimumFractionDigits: size >= 0.01 ? 2 : 0, maximumFractionDigits: places })}`;
}

/** Writes a count in full. */
export const count = (value) => COUNT.format(Number(value ?? 0));

/** Writes a count in short: 12.3K. */
export const compact = (value) => COMPACT.format(Number(value ?? 0));

/** Writes a count with its noun, which gets an "s" if there is not exactly one. */
export const counted = (value, noun) => `${count(value)} ${noun}${Number(value) === 1 ? "" : "s"}`;

/** Writes a duration in milliseconds. */
export function duration(milliseconds) {
  const ms = Math.max(0, milliseconds);
  if (ms < 1) return "0 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const days = Math.floor(whole / 86400), hours = Math.floor((whole % 86400) / 3600);
  const minutes = Math.floor((whole % 3600) / 60), rest = whole % 60;
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
}

/** Writes how long ago a time was. */
export function ago(time, now = Date.now()) {
  const seconds = Math.round((now - time) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** Writes a time of day with milliseconds. */
export function clock(time) {
  const date = new Date(time);
  const two = (value) => String(value).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${
    String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** Writes date and time in full, in the browser's zone. */
export const fullTime = (time) => new Date(time).toLocaleString(undefined,
  { dateStyle: "medium", timeStyle: "medium" });

/** Shortens a text to one line of so many characters. */
export function line(text, length = 160) {
  const flat = String(text ?? "").slice(0, length * 4).replace(/\s+/g, " ").trim();
  return flat.length > length ? `${flat.slice(0, length - 1)}…` : flat;
}

/** Writes an id so that it is recognized: its last eight characters, where ids of one minute differ. */
export const shortId = (id) => (id.length > 12 ? `…${id.slice(-8)}` : id);

/** Writes a state as people do: "budget exceeded". */
export const stateName = (state) => String(state).replaceAll("_", " ");

/** Indents JSON text; anything else stays as it is. */
export function prettyJson(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return String(text);
  }
}
