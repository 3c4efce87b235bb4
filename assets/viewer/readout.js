// @ts-check
// The row that says what every pane sees under the pointer. Its cells have fixed places, so nothing jumps.

import { el, setText } from "./dom.js";
import { PANES, mapOf } from "./pane-registry.js";

const NONE = 255;

export class Readout {
  constructor(/** @type {import("./state.js").View} */ view, loader) {
    this.view = view;
    this.loader = loader;
    this.cells = {};
    this.root = el("div", { class: "readout", "aria-live": "off", "data-testid": "readout" });
    for (const kind of PANES.values()) this.root.append(this.cell(kind));
    view.on("pointer bundle frame data settings other", () => this.show());
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
    parts.root = el("div", { class: "read-cell", "data-testid": `readout-${id}` },
      parts.title, parts.second, el("span", { class: "read-line" }, parts.swatch, parts.name, parts.sure));
    this.cells[id] = parts;
    return parts.root;
  }

  show() {
    const { view } = this;
    const bundle = this.loader.shown;
    this.root.hidden = !view.data.live;
    for (const [pane, cell] of Object.entries(this.cells)) {
      const kind = PANES.get(pane);
      cell.root.hidden = !view.panes().includes(pane) || Boolean(kind.optional && !view.uses(pane));
      setText(cell.title, kind.source === "truth" ? kind.title(view) : kind.short(view));
      const frame = mapOf(pane, bundle);
      if (!view.pointer || !frame || !view.data.live) this.blank(cell, pane);
      else this.fill(cell, pane, frame.words[place(view.pointer, frame)]);
    }
  }

  blank(cell, pane) {
    cell.swatch.style.background = "var(--hair)";
    setText(cell.name, pane === "a" && !this.view.pointer ? "Point at a picture" : "–");
    setText(cell.sure, "");
    setText(cell.second, "");
  }

  fill(cell, pane, word) {
    this.paint(cell, word & 255);
    const { network } = PANES.get(pane);
    setText(cell.sure, !network ? "" : `${Math.round(((word >>> 8) & 255) / 2.55)} %`);
    setText(cell.second, !network ? "" : `then ${this.name((word >>> 16) & 255)}`);
  }

  paint(cell, id) {
    cell.swatch.style.background = this.view.classOf(id)?.color ?? "transparent";
    setText(cell.name, this.name(id));
  }

  name(id) {
    if (id === NONE) return "void";
    return this.view.classOf(id)?.name ?? `class ${id}`;
  }
}

function place({ u, v }, { width, height }) {
  const x = Math.min(width - 1, Math.floor(u * width));
  return Math.min(height - 1, Math.floor(v * height)) * width + x;
}
