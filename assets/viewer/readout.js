// @ts-check
// What every pane says of the pixel under the pointer, beside the pointer.

import { el, setText } from "./dom.js";
import { lensOf } from "./lenses.js";
import { PANES, mapOf } from "./pane-registry.js";
import { toPane } from "./zoom.js";

const NONE = 255;
const AWAY = 18; // pixels between the pointer and the box

export class Readout {
  constructor(/** @type {import("./state.js").View} */ view, loader) {
    this.view = view;
    this.loader = loader;
    this.cells = {};
    this.root = el("div", { class: "readout", "aria-live": "off", hidden: true, "data-testid": "readout" });
    for (const kind of PANES.values()) this.root.append(this.cell(kind));
    view.on("pointer bundle frame data settings other zoom", () => this.show());
    this.show();
  }

  cell({ id }) {
    const parts = {
      title: el("span", { class: "read-pane" }),
      swatch: el("span", { class: "swatch" }),
      name: el("span", { class: "read-class" }),
      sure: el("span", { class: "read-sure" }),
      second: el("span", { class: "read-second" }),
    };
    parts.root = el("div", { class: "read-cell", "data-testid": `readout-${id}` }, parts.title, parts.swatch, parts.name, parts.sure, parts.second);
    this.cells[id] = parts;
    return parts.root;
  }

  show() {
    const { view } = this;
    const bundle = this.loader.shown;
    this.root.hidden = !view.pointer || !view.data.live || !bundle;
    if (this.root.hidden) return;
    for (const [pane, cell] of Object.entries(this.cells)) {
      const kind = PANES.get(pane);
      cell.root.hidden = !view.panes().includes(pane) || Boolean(kind.optional && !view.uses(pane));
      if (!cell.root.hidden) this.fill(cell, kind, mapOf(pane, bundle));
    }
    this.place();
  }

  fill(cell, kind, frame) {
    const pixel = frame ? place(this.view.pointer, frame) : 0;
    const word = frame ? frame.words[pixel] : null;
    setText(cell.title, kind.short(this.view));
    cell.swatch.style.background = word === null ? "transparent" : (this.view.classOf(word & 255)?.css ?? "transparent");
    setText(cell.name, word === null ? "–" : this.name(word & 255, kind.source === "truth"));
    const says = kind.network && word !== null;
    setText(cell.sure, says ? `${Math.round(((word >>> 8) & 255) / 2.55)} %` : "");
    const own = frame?.doubt && lensOf(this.view.settings.lens).says;
    setText(cell.second, says ? (own ? own(frame, pixel) : `then ${this.name((word >>> 16) & 255)}`) : "");
  }

  // Right of and below the pointer, or on its other side where there is no room.
  place() {
    const { view, root } = this;
    if (!view.pointed || !root.parentElement) return;
    const [pane, box] = [view.pointed.getBoundingClientRect(), root.parentElement.getBoundingClientRect()];
    const { px, py } = toPane(view, view.pointer);
    const x = pane.left - box.left + px * pane.width;
    const y = pane.top - box.top + py * pane.height;
    const left = x + AWAY + root.offsetWidth > box.width ? x - AWAY - root.offsetWidth : x + AWAY;
    const top = pane.top + py * pane.height + AWAY + root.offsetHeight > window.innerHeight ? y - AWAY - root.offsetHeight : y + AWAY;
    root.style.transform = `translate(${Math.round(Math.max(0, left))}px, ${Math.round(top)}px)`;
  }

  // What a network says beside the classes is outside of them; the truth says nothing there.
  name(id, truth = false) {
    if (id === NONE) return truth ? "void" : "outside";
    return this.view.classOf(id)?.name ?? `class ${id}`;
  }
}

function place({ u, v }, { width, height }) {
  const x = Math.min(width - 1, Math.floor(u * width));
  return Math.min(height - 1, Math.floor(v * height)) * width + x;
}
