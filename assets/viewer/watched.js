// @ts-check
// Background work of the server, as the browser follows it: ask, then look again until it has ended.

import { Trouble, request } from "./frames.js";

const WATCH_MS = 400;
const JSON_HEADERS = { "Content-Type": "application/json" };
const IDLE = { state: "idle", message: null, done: 0, total: 0, seconds_left: null };

// Whoever extends it says where (`url`), what to do with an answer (`taken(ended)`), and may say when not to ask (`asks`).
export class Watched {
  constructor(/** @type {import("./state.js").View} */ view) {
    this.view = view;
    /** @type {Record<string, any>} */
    this.answer = { ...IDLE };
    view.on("data", (before) => {
      if (before.base !== view.data.base) this.forget();
    });
  }

  /** @returns {string} where it is asked for */
  get url() {
    throw new Error("whoever extends Watched says where it is asked for");
  }

  // An answer has come; `ended`: the work was under way at the last one, and is not any more.
  taken(/** @type {boolean} */ _ended) {}

  get running() {
    return this.answer.state === "running";
  }

  get asks() {
    return Boolean(this.view.data.base);
  }

  forget() {
    this.answer = { ...IDLE };
  }

  poll() {
    return this.asks ? this.send(this.url) : null;
  }

  order(url, order) {
    return this.send(url, { method: "POST", body: typeof order === "string" ? order : JSON.stringify(order), headers: JSON_HEADERS });
  }

  // Only the newest question counts, and only where it was asked: the view may show something else by then.
  async send(url, options) {
    clearTimeout(this.timer);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const { base } = this.view.data;
    try {
      const answer = await (await request(url, options)).json();
      if (this.disposed || turn !== this.turn || base !== this.view.data.base) return;
      const ended = this.running && answer.state !== "running";
      this.answer = answer;
      this.taken(ended);
    } catch (error) {
      this.trouble(error);
    }
    if (this.running && !this.disposed) this.timer = setTimeout(() => this.poll(), WATCH_MS);
  }

  // Without live pictures the message in their place says already why.
  trouble(error) {
    if (this.disposed || !this.view.data.live) return;
    const known = error instanceof Trouble;
    this.view.emit("trouble", known ? error : new Trouble(`an answer that cannot be read (${error.message})`, "JSON", "start it again"));
  }

  // The rest of the page shows what is new.
  tell() {
    this.view.send("measured", `${this.answer.state} ${this.answer.done} ${Date.now()}`);
  }

  dispose() {
    this.disposed = true;
    clearTimeout(this.timer);
  }
}
