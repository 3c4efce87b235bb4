// @ts-check
// What the colours of the lens mean, over the lower edge of the pictures, so that nothing moves when it comes and goes.

import { el } from "./dom.js";
import { lensOf } from "./lenses.js";

export class LensKey {
  constructor(/** @type {import("./state.js").View} */ view) {
    this.view = view;
    this.root = el("div", { class: "lens-key", "data-testid": "lens-key" });
    view.on("settings data", () => this.show());
    this.show();
  }

  show() {
    const { lens } = this.view.settings;
    this.root.hidden = !this.view.data.live || !lensOf(lens).key.length;
    if (lens === this.shown) return;
    this.shown = lens;
    this.root.replaceChildren(...lensOf(lens).key.map(entry));
  }
}

// A swatch and what it means, or a ramp between two words.
function entry({ color, text, from }) {
  if (!color) return el("span", {}, text);
  const swatch = el("span", { class: from ? "ramp" : "swatch" });
  swatch.style.background = color;
  return from ? el("span", { class: "chip" }, from, swatch, text) : el("span", { class: "chip" }, swatch, text);
}
