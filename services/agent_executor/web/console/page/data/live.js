// The live connection: what happens in the organization's runs, each event once, over one WebSocket
// that is opened again whenever it breaks, from where it was.

import { serverTime } from "./api.js";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
// The server gives a sign of life every 15 seconds.
const SILENCE_MS = 40_000;
// What was told shortly before is asked for again, and known by its sequence.
const OVERLAP_MS = 2_000;
// What has just happened fills the list of activities, by the server's clock.
const FIRST_LOOK_MS = 60_000;
// Beyond an hour the server tells no past; the lists are read again instead.
const LONGEST_GAP_MS = 55 * 60_000;
const CREDENTIAL_ENDED = 4401;
const REMEMBERED_RUNS = 10_000;

/**
 * Tells `event` (an Activity), `state` (it is "connecting", "live" or "lost" now), `gap` (what was
 * before, or meanwhile, is not told) and `refused` (the session may be over).
 */
export class Live extends EventTarget {
  state = "connecting";
  #socket = null;
  #toldAt = "";
  #heardAt = 0;
  #delay = FIRST_DELAY_MS;
  #timer = 0;
  #watch = 0;
  #isStopped = true;
  #hasGap = true;
  #sequences = new Map();

  start() {
    this.#isStopped = false;
    this.#watch = setInterval(() => this.#check(), 5_000);
    addEventListener("online", this.#now);
    this.#open();
  }

  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    removeEventListener("online", this.#now);
    this.#socket?.close();
    this.#socket = null;
  }

  #now = () => {
    if (this.state === "live" || this.#isStopped) return;
    clearTimeout(this.#timer);
    this.#delay = FIRST_DELAY_MS;
    this.#open();
  };

  #open() {
    this.#socket?.close();
    const url = new URL("/api/v1/monitor", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("without_content", "true");
    const missedMs = this.#toldAt ? Date.now() - Date.parse(this.#toldAt) : 0;
    this.#hasGap ||= missedMs > LONGEST_GAP_MS;
    const since = this.#hasGap ? serverTime() - FIRST_LOOK_MS : Date.parse(this.#toldAt) - OVERLAP_MS;
    if (since > 0) url.searchParams.set("since", new Date(since).toISOString());
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#heardAt = Date.now();
    this.#become(this.state === "lost" ? "lost" : "connecting");
    let wasOpen = false;
    socket.addEventListener("open", () => {
      wasOpen = true;
      if (socket !== this.#socket) return;
      this.#heardAt = Date.now();
      this.#become("live");
    });
    socket.addEventListener("message", (message) => {
      if (socket === this.#socket) this.#hear(JSON.parse(message.data));
    });
    socket.addEventListener("close", ({ code }) => {
      if (socket !== this.#socket) return;
      // Why a connection was refused is told to no script; the listener finds out by a request.
      if (code === CREDENTIAL_ENDED || !wasOpen) this.dispatchEvent(new Event("refused"));
      this.#lose();
    });
  }

  #hear(activity) {
    this.#heardAt = Date.now();
    this.#delay = FIRST_DELAY_MS;
    if (activity.told_at) this.#toldAt = activity.told_at;
    if (this.#hasGap) {
      // Watching has begun: what happened before is in the lists.
      this.#hasGap = false;
      this.dispatchEvent(new Event("gap"));
    }
    const event = activity.event;
    if (!event || !this.#isNew(event)) return;
    this.dispatchEvent(new CustomEvent("event", { detail: activity }));
  }

  // The events of a run come in their order, so that its last sequence says all.
  #isNew({ run_id: run, sequence }) {
    if ((this.#sequences.get(run) ?? 0) >= sequence) return false;
    this.#sequences.delete(run);
    this.#sequences.set(run, sequence);
    if (this.#sequences.size > REMEMBERED_RUNS) {
      this.#sequences.delete(this.#sequences.keys().next().value);
    }
    return true;
  }

  #check() {
    if (this.state === "live" && Date.now() - this.#heardAt > SILENCE_MS) {
      this.#socket?.close();
      this.#lose();
    }
  }

  #lose() {
    this.#socket = null;
    if (this.#isStopped) return;
    this.#become("lost");
    clearTimeout(this.#timer);
    // Not all browsers at once when a server comes back.
    this.#timer = setTimeout(() => this.#open(), this.#delay * (0.5 + Math.random()));
    this.#delay = Math.min(this.#delay * 2, LONGEST_DELAY_MS);
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}
