// @ts-check
// From which confidence on a pixel counts as sure: those below are hatched. A setting of the look; nothing is asked for it.

import { el, setText } from "./dom.js";

export class Sure {
  constructor(/** @type {import("./state.js").View} */ view) {
    this.slider = el("input", {
      type: "range", min: 0, max: 0.99, step: 0.01, "aria-label": "Hatch pixels below this confidence", "data-testid": "sure",
      on: { input: () => view.change({ sure: this.slider.valueAsNumber }), keydown: (event) => event.stopPropagation() },
    });
    this.text = el("span", { class: "count" });
    this.root = el("label", { class: "field sure", title: "Pixels of less confidence are hatched" }, "Sure from", this.slider, this.text);
    view.on("settings", () => this.show(view.settings));
    this.show(view.settings);
  }

  show({ sure }) {
    if (this.slider.valueAsNumber !== sure) this.slider.value = String(sure);
    setText(this.text, sure ? `${Math.round(100 * sure)} %` : "off");
  }
}
