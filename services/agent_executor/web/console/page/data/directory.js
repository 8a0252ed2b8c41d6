// The organization's agents by id, read once and again when somebody new is met.

import { all } from "./api.js";

const MOST = 2_000;
const AGAIN_MS = 5_000;

export class Directory extends EventTarget {
  #agents = new Map();
  #readAt = 0;
  #reading = null;

  /** Reads the agents and returns them, newest first. */
  async read() {
    this.#reading ??= all("/api/v1/agents", "agents", { most: MOST }).finally(() => { this.#reading = null; });
    const agents = await this.#reading;
    this.#readAt = Date.now();
    this.#agents = new Map(agents.map((agent) => [agent.id, agent]));
    this.dispatchEvent(new Event("change"));
    return agents;
  }

  /** Those that were read. */
  get agents() {
    return [...this.#agents.values()];
  }

  get(id) {
    return this.#agents.get(id);
  }

  /** What an agent is called; its id if that is not known, which is asked for now and then. */
  name(id) {
    const agent = this.#agents.get(id);
    if (agent) return agent.name;
    if (id && Date.now() - this.#readAt > AGAIN_MS) {
      this.#readAt = Date.now();
      this.read().catch(() => {});
    }
    return id;
  }
}
