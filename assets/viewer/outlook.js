// @ts-check
// What the weights, or the measured curve, say of this merge: one line beside the formula, and the way to Diagnose.

import { el, setAttribute, setText } from "./dom.js";
import { request } from "./frames.js";

const SHARED = ["data", "split", "buffers"]; // what the other page reads of this one's address, beside the checkpoints

export class Outlook {
  constructor(/** @type {import("./state.js").View} */ view) {
    this.view = view;
    this.root = el("a", { class: "outlook", target: "_self", hidden: true, "data-testid": "outlook" });
    view.on("data", (before) => {
      if (before.base !== view.data.base) this.ask();
    });
    view.on("sweep", () => this.measured());
    this.ask();
  }

  // A curve that has grown may have decided what the weights alone cannot.
  measured() {
    const { running, points } = this.view.sweep;
    if (!running && points.length !== this.points) this.ask();
  }

  async ask() {
    const { base } = this.view.data;
    if (!base) return;
    this.points = this.view.sweep?.points.length ?? 0;
    const turn = (this.turn = (this.turn ?? 0) + 1);
    let found = null;
    try {
      found = await (await request(`${base}/verdict`)).json();
    } catch {
      // a merge can be looked at without it, and what is wrong with the server the frames say
    }
    if (turn === this.turn) this.show(found);
  }

  show(found) {
    this.root.hidden = !found;
    if (!found) return;
    setText(this.root, found.line);
    setAttribute(this.root, "data-level", found.level);
    setAttribute(this.root, "title", `${found.pair.join(" + ")}: ${found.sentence} More on the Diagnose page.`);
    setAttribute(this.root, "href", `diagnostics?${this.query(found.pair)}`);
  }

  query(pair) {
    const here = new URLSearchParams(window.location.search);
    const { members } = this.view;
    const wanted = new URLSearchParams({ a: members[0].name, b: members[1].name, pair: pair.join(" + ") });
    for (const name of SHARED) if (here.has(name)) wanted.set(name, here.get(name));
    if (members.length > 2) for (const { name } of members) wanted.append("set", name);
    return wanted;
  }
}
