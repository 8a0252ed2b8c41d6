// The latest activities, which outlive the view that shows them.

const MOST = 60;

export class History extends EventTarget {
  /** Newest first. */
  activities = [];
  #added = 0;

  /** Listens to the live connection. */
  constructor(live) {
    super();
    live.addEventListener("event", ({ detail }) => {
      this.activities.unshift(detail);
      if (this.activities.length > MOST) this.activities.pop();
      // However fast they come, they are shown once a frame.
      this.#added ||= requestAnimationFrame(() => {
        this.#added = 0;
        this.dispatchEvent(new Event("change"));
      });
    });
  }
}
