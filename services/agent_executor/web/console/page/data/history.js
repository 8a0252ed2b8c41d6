// The latest activities, which outlive the view that shows them.

const MOST = 60;

export class History extends EventTarget {
  /** Newest first; two of one instant are in the order in which they were told. */
  activities = [];
  #added = 0;

  /** Listens to the live connection. */
  constructor(live) {
    super();
    live.addEventListener("event", ({ detail }) => {
      this.#insert(detail);
      // However fast they come, they are shown once a frame.
      this.#added ||= requestAnimationFrame(() => {
        this.#added = 0;
        this.dispatchEvent(new Event("change"));
      });
    });
  }

  // After a reconnection the past is told run by run; it is shown by its time.
  #insert(activity) {
    const time = Date.parse(activity.event.created_at);
    const at = this.activities.findIndex((other) => Date.parse(other.event.created_at) <= time);
    if (at < 0) this.activities.push(activity);
    else this.activities.splice(at, 0, activity);
    if (this.activities.length > MOST) this.activities.pop();
  }
}
