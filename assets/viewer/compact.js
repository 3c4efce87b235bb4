// @ts-check
// The tools of a viewer that stands beside charts: the picture and the lens in sight, everything else unfolded on demand.

import { button, el, option, setAttribute } from "./dom.js";
import { LENSES } from "./lenses.js";

export class CompactTools {
  // Takes what it shows at once out of the whole toolbar, which is the rest.
  constructor(/** @type {import("./state.js").View} */ view, toolbar) {
    this.lens = el("select", { "aria-label": "What the masks show", "data-testid": "compact-lens", on: { change: () => view.change({ lens: this.lens.value }) } },
      ...[...LENSES.values()].map(({ id, label }) => option(id, label)));
    toolbar.lenses.root.remove();
    this.rest = el("div", { class: "tools-rest", hidden: true }, toolbar.root);
    this.more = button("View", () => this.unfold(), { "aria-expanded": false, "data-testid": "tools-rest" });
    this.root = el("section", { class: "toolbar compact-tools", "aria-label": "View" },
      el("div", { class: "tools" }, toolbar.stepper, toolbar.name, el("span", { class: "spring" }), toolbar.referenceBox, this.lens, this.more), this.rest, toolbar.key);
    view.on("settings data", () => this.show(view));
    this.show(view);
  }

  unfold() {
    this.rest.hidden = !this.rest.hidden;
    setAttribute(this.more, "aria-expanded", !this.rest.hidden);
  }

  show({ data, settings }) {
    this.root.hidden = !data.live;
    this.lens.value = settings.lens;
  }
}

// The pane that the page holds the merge against is what the lenses compare with; whoever chooses another keeps it.
export function followReference(/** @type {import("./state.js").View} */ view) {
  let followed = null;
  const follow = () => {
    const { reference } = view.data.errors ?? {};
    if (!reference || reference === followed || !view.panes().includes(reference)) return;
    followed = reference;
    if (view.settings.reference !== reference) view.change({ reference });
  };
  view.on("data", follow);
  follow();
}
