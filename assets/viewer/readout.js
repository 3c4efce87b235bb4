// The row that says what every pane sees under the pointer. Its cells have fixed places, so nothing jumps.

import { el, setText } from "./dom.js";

const NONE = 255;

export class Readout {
  constructor(view, loader) {
    this.view = view;
    this.loader = loader;
    this.cells = {};
    this.root = el("div", { class: "readout", "aria-live": "off", "data-testid": "readout" });
    for (const pane of ["a", "m", "b", "t"]) this.root.append(this.cell(pane));
    view.on("pointer bundle frame data settings other", () => this.show());
    this.show();
  }

  cell(pane) {
    const parts = {
      title: el("span", { class: "read-pane" }, { a: "A", m: "Merge", b: "B", t: "Ground truth" }[pane]),
      swatch: el("span", { class: "swatch" }),
      name: el("span", { class: "read-class" }),
      sure: el("span", { class: "read-sure" }),
      second: el("span", { class: "read-second" }),
    };
    parts.root = el("div", { class: "read-cell", "data-testid": `readout-${pane}` },
      parts.title, parts.second, el("span", { class: "read-line" }, parts.swatch, parts.name, parts.sure));
    this.cells[pane] = parts;
    return parts.root;
  }

  show() {
    const { view } = this;
    const bundle = this.loader.shown;
    this.root.hidden = !view.data.live;
    for (const [pane, cell] of Object.entries(this.cells)) {
      cell.root.hidden = pane === "t" && !view.hasTruth;
      if (pane === "b") setText(cell.title, view.letterOf(pane).toUpperCase());
      const frame = bundle && (pane === "t" ? bundle.truth : bundle[pane]);
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
    setText(cell.sure, pane === "t" ? "" : `${Math.round(((word >>> 8) & 255) / 2.55)} %`);
    setText(cell.second, pane === "t" ? "" : `then ${this.name((word >>> 16) & 255)}`);
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
