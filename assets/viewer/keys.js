// @ts-check
// Keys that work anywhere in the viewer, and the panel that lists them.

import { button, el } from "./dom.js";
import { LENSES } from "./lenses.js";
import { PRESENT_KEYS } from "./present.js";
import { resetZoom, zoomKey } from "./zoom.js";

export const VIEW_KEYS = [
  ["[ ]  PageUp PageDown", "previous, next picture"],
  ["+ −  0", "zoom in, out, reset"],
  ["m", "masks on or off"],
  ["o", "borders on or off"],
  ["n", "mark a region with a note; Enter saves, Esc gives up"],
  ["g  w  b", "side by side, wipe, blink"],
  ["x (hold)", "swap the compared panes; in Merge show the left one"],
  ["← ↑ → ↓", "move the read-out (on a picture)"],
  ...PRESENT_KEYS,
  ["?", "this list"],
];

export function helpPanel(own) {
  const lenses = [...LENSES.values()].map(({ label }) => label.toLowerCase()).join(", ");
  const rows = [...own, ...VIEW_KEYS, [`1 – ${Math.min(9, LENSES.size)}`, lenses]].flatMap(([keys, text]) => [el("dt", {}, keys), el("dd", {}, text)]);
  const panel = el("dialog", { class: "help", "aria-label": "Keys", "data-testid": "help-panel" }, el("h2", { tabindex: "-1", autofocus: true }, "Keys"), el("dl", {}, ...rows));
  panel.append(button("Close", () => panel.close(), { class: "quiet" }));
  panel.addEventListener("click", (event) => {
    if (event.target === panel) panel.close(); // a click beside the panel
  });
  return panel;
}

const LETTER = /^[a-z]$/i;

export class Keys {
  constructor(/** @type {import("./state.js").View} */ view, root, actions) {
    this.view = view;
    this.root = root;
    this.actions = { ...this.table(), ...actions };
    this.down = (event) => this.pressed(event);
    this.up = (event) => this.released(event);
    document.addEventListener("keydown", this.down);
    document.addEventListener("keyup", this.up);
    window.addEventListener("blur", this.up);
  }

  table() {
    const { view } = this;
    const flip = (name) => () => view.change({ [name]: !view.settings[name] });
    const layout = (name) => () => view.change({ layout: view.settings.layout === name ? "grid" : name });
    const table = {
      "[": () => view.setIndex(view.index - 1), "]": () => view.setIndex(view.index + 1),
      PageUp: () => view.setIndex(view.index - 1), PageDown: () => view.setIndex(view.index + 1),
      "+": () => zoomKey(view, 1), "=": () => zoomKey(view, 1), "-": () => zoomKey(view, -1), 0: () => resetZoom(view),
      m: flip("masks"), o: flip("borders"), g: layout("grid"), w: layout("wipe"), b: layout("blink"), x: () => this.swap(true),
    };
    [...LENSES.values()].slice(0, 9).forEach(({ id, needs }, place) => {
      table[place + 1] = () => (needs.includes("truth") && !view.hasTruth ? null : view.change({ lens: id }));
    });
    return table;
  }

  // Ours when the focus is in the viewer, or nowhere; letters also on a button or link of the page, which has no use for them.
  // Never while somebody types. Page keys scroll when the focus is nowhere.
  pressed(event) {
    const action = this.actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const path = event.composedPath();
    const inside = path.includes(this.root);
    const typing = path[0].matches?.("input:not([type=range]), textarea, select, [contenteditable=true]");
    const elsewhere = !inside && (path[0] === document.body ? event.key.startsWith("Page") : !LETTER.test(event.key));
    if (typing || elsewhere) return;
    event.preventDefault();
    action();
  }

  swap(held) {
    if (this.view.swapped === held) return;
    this.view.swapped = held;
    this.view.emit("compare");
  }

  released(event) {
    if (event.type === "blur" || event.key === "x") this.swap(false);
  }

  dispose() {
    document.removeEventListener("keydown", this.down);
    document.removeEventListener("keyup", this.up);
    window.removeEventListener("blur", this.up);
  }
}
