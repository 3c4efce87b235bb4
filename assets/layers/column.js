// @ts-check
// The column of units: a bar each, drawn by dragging across them like a curve.

import { LETTERS } from "../viewer/pane-registry.js";
import { alphaText, button, clamp, el, known, setAttribute, setText, signed } from "../viewer/dom.js";
import { fourDigits } from "./profile.js";

const SNAP = 100; // a pointer sets hundredths

class Row {
  constructor(column, place, name) {
    this.column = column;
    this.place = place;
    this.lockButton = button("", () => column.profile.lock(place), { class: "lock quiet", "data-testid": `lock-${place}` });
    this.name = el("span", { class: "unit-name", title: name }, el("bdi", {}, name));
    this.edge = el("i", { class: "edge" });
    this.track = el("div", {
      class: "bar-track", role: "slider", tabindex: "-1", "aria-valuemin": 0, "aria-valuemax": 1, "data-testid": `unit-${place}`,
      on: { keydown: (event) => column.keys(event, place), focus: () => column.setActive(place) },
    }, this.edge);
    this.value = el("span", { class: "unit-value" });
    this.unlike = el("i", {});
    this.unlikeCell = el("span", { class: "unlike" }, this.unlike);
    this.alone = el("i", { class: "alone" });
    this.missing = el("i", { class: "missing" });
    this.share = el("span", { class: "share", "data-testid": `share-${place}` }, this.alone, this.missing);
    this.root = el("div", { class: "unit", role: "presentation" }, this.lockButton, this.name, this.track, this.value, this.unlikeCell, this.share);
  }

  show(profile, locked) {
    const weight = profile.share(this.place);
    if (profile.count > 2) this.showRest(profile);
    else if (this.stacked) this.stacked = this.track.style.removeProperty("--bar");
    if (weight !== this.weight) {
      this.track.style.setProperty("--w", `${100 * weight}%`);
      setAttribute(this.track, "aria-valuenow", weight);
      setAttribute(this.track, "data-weight", weight);
      setText(this.value, alphaText(Math.round(weight * SNAP) / SNAP));
      this.weight = weight;
    }
    if (locked !== this.locked) {
      this.root.classList.toggle("locked", locked);
      setText(this.lockButton, locked ? "●" : "○");
      setAttribute(this.lockButton, "aria-pressed", locked);
      setAttribute(this.lockButton, "title", locked ? "Locked to the anchor: click to free" : "Lock to the anchor");
      setAttribute(this.lockButton, "aria-label", `Lock ${this.name.title} to the anchor`);
      this.locked = locked;
    }
  }

  // Of several checkpoints a bar shows all, the brush first: its edge is what the hand moves.
  showRest(profile) {
    const { members } = profile.view;
    const order = [profile.brush, ...members.map((_, member) => member).filter((member) => member !== profile.brush)];
    let along = 0;
    const stops = order.map((member) => {
      const from = along;
      along += 100 * profile.weights[this.place][member];
      const color = `color-mix(in srgb, var(--${LETTERS[member]}) ${member === profile.brush ? 70 : 38}%, var(--paper))`;
      return `${color} ${from.toFixed(2)}% ${along.toFixed(2)}%`;
    });
    this.stacked = `linear-gradient(90deg, ${stops.join(", ")})`;
    this.track.style.setProperty("--bar", this.stacked);
    setAttribute(this.track, "title", members.map((_, member) => `${LETTERS[member].toUpperCase()} ${alphaText(profile.weights[this.place][member])}`).join("  "));
  }

  showUnlike(value, most, words) {
    this.unlike.style.width = known(value) && most > 0 ? `${(100 * value) / most}%` : "0";
    setAttribute(this.unlikeCell, "title", words);
  }

  showShare(alone, missing, most) {
    for (const [bar, value] of [[this.alone, alone], [this.missing, missing]]) {
      const width = known(value) && most > 0 ? (50 * Math.abs(value)) / most : 0;
      bar.style.width = `${width}%`;
      bar.style.left = `${value < 0 ? 50 - width : 50}%`;
      bar.classList.toggle("loss", value < 0);
    }
    const words = [known(alone) ? `alone ${signed(100 * alone, 2)} points against the anchor` : "", known(missing) ? `left out ${signed(100 * missing, 2)} points against the merge` : ""];
    setAttribute(this.share, "title", words.filter(Boolean).join("; ") || "not measured");
  }
}

export class Column {
  constructor(/** @type {import("../viewer/state.js").View} */ view, contribution) {
    this.view = view;
    this.profile = /** @type {import("./profile.js").Profile} */ (view.mixture);
    this.contribution = contribution;
    this.measure = "cosine";
    this.radius = 0;
    this.active = 0;
    this.rows = [];
    this.build();
    view.on("units", () => this.rebuild());
    view.on("mixture history", () => this.show());
    view.on("contribution", () => this.showShares());
  }

  build() {
    const { view } = this;
    this.unlikeHead = button("", () => this.flip(), { class: "quiet head-unlike", "data-testid": "unlike-kind" });
    this.list = el("div", { class: "units", "data-testid": "units", on: {
      pointerdown: (event) => this.down(event), pointermove: (event) => this.move(event), pointerup: () => this.up(), pointercancel: () => this.up(),
    } });
    this.summary = el("span", { class: "quiet-text" });
    this.brushHead = el("b", { class: "name-a" }, "A");
    this.head = el("div", { class: "unit unit-heads" }, el("span", {}), el("span", {}, this.summary),
      el("span", { class: "head-ends" }, el("span", {}, "0"), el("span", {}, "of ", this.brushHead), el("span", {}, "1")), el("span", {}), this.unlikeHead,
      el("span", { class: "head-share", title: "What a unit does: upper bar alone, lower bar left out" }, "effect"));
    this.root = el("section", { class: "card column-card", "aria-label": "Layers" }, this.head, this.list, this.contribution.root);
    view.on("data", () => this.show());
  }

  flip() {
    if (!this.profile.units) return;
    this.measure = this.measure === "cosine" ? "discrepancy" : "cosine";
    this.showUnlike();
  }

  rebuild() {
    const { names } = this.profile.current;
    this.rows = names.map((name, place) => new Row(this, place, name));
    const blockOf = (name) => name.split(".")[0];
    names.forEach((name, place) => this.rows[place].root.classList.toggle("first", place === 0 || blockOf(name) !== blockOf(names[place - 1])));
    this.list.replaceChildren(...this.rows.map((row) => row.root));
    this.list.classList.toggle("dense", names.length > 48);
    this.setActive(Math.min(this.active, names.length - 1));
    setText(this.summary, `${names.length} ${this.profile.level}${names.length === 1 ? "" : "s"}`);
    this.show();
    this.showUnlike();
    this.showShares();
  }

  show() {
    const { profile } = this;
    if (!profile.units || this.rows.length !== profile.weights.length) return; // rows of other checkpoints or units stay until the new ones are known
    const letter = LETTERS[profile.brush];
    setText(this.brushHead, letter.toUpperCase());
    this.brushHead.className = `name-${letter}`;
    this.rows.forEach((row, place) => {
      row.show(profile, profile.locked.has(place));
      setAttribute(row.track, "aria-label", `${row.name.title}, weight of ${letter.toUpperCase()}`);
    });
  }

  showUnlike() {
    const { cosine, discrepancy } = this.profile.current;
    const values = this.measure === "cosine" ? cosine.map((value) => (known(value) ? 1 - value : null)) : discrepancy;
    const most = Math.max(...values.filter(known), 0);
    setText(this.unlikeHead, this.measure === "cosine" ? "1 − cos" : "moved");
    setAttribute(this.unlikeHead, "title", this.measure === "cosine"
      ? `1 − cosine${this.profile.count > 2 ? ", mean over all pairs" : " of A and B"}; a full bar is ${most.toPrecision(2)}. Click for the share of elements that moved`
      : `Share of elements that differ by a tenth of themselves (tau ${this.profile.units.tau}); a full bar is ${most.toPrecision(2)}. Click for the cosine`);
    this.rows.forEach((row, place) => row.showUnlike(values[place], most,
      `cosine ${known(cosine[place]) ? cosine[place].toFixed(4) : "undefined"}, ${(100 * discrepancy[place]).toFixed(1)} % of elements moved`));
  }

  showShares() {
    const { alone, missing } = this.contribution.changes();
    const most = Math.max(...[...alone, ...missing].filter(known).map(Math.abs), 0);
    this.rows.forEach((row, place) => row.showShare(alone[place], missing[place], most));
  }

  // --- dragging ---

  down(event) {
    const row = this.rowAt(event);
    if (event.button !== 0 || !event.composedPath().some((node) => node.classList?.contains("bar-track"))) return;
    event.preventDefault();
    this.list.setPointerCapture(event.pointerId);
    this.view.hold();
    this.drawing = { place: null };
    row.track.focus({ preventScroll: true });
    this.drawTo(row.place, this.valueAt(event, row));
  }

  move(event) {
    if (!this.drawing || !this.list.hasPointerCapture(event.pointerId)) return;
    const row = this.rowAt(event);
    this.drawTo(row.place, this.valueAt(event, row));
  }

  up() {
    if (!this.drawing) return;
    this.drawing = null;
    this.view.release();
  }

  rowAt(event) {
    const box = this.list.getBoundingClientRect();
    const high = this.list.scrollHeight / this.rows.length;
    return this.rows[clamp(Math.floor((event.clientY - box.top + this.list.scrollTop) / high), 0, this.rows.length - 1)];
  }

  valueAt(event, row) {
    const box = row.track.getBoundingClientRect();
    return Math.round(clamp((event.clientX - box.left) / box.width, 0, 1) * SNAP) / SNAP;
  }

  // A quick hand skips rows: those between the last and this one lie on the straight line.
  drawTo(place, value) {
    const { drawing, profile } = this;
    const last = drawing.place ?? place;
    const way = Math.abs(place - last);
    for (let step = 1; step < way; step++) {
      const between = last + Math.sign(place - last) * step;
      this.enter(between);
      this.profile.bend(between, fourDigits(drawing.value + ((value - drawing.value) * step) / way), this.radius, drawing.from);
    }
    if (drawing.place !== place) this.enter(place);
    drawing.value = value;
    profile.bend(place, value, this.radius, drawing.from);
  }

  enter(place) {
    this.drawing.place = place;
    this.drawing.from = [...this.profile.weights];
  }

  // --- keys ---

  setActive(place) {
    this.rows[this.active]?.track.setAttribute("tabindex", "-1");
    this.active = Math.max(0, place);
    this.rows[this.active]?.track.setAttribute("tabindex", "0");
  }

  keys(event, place) {
    const size = event.shiftKey ? 0.1 : 0.01;
    const weight = this.profile.share(place);
    const next = { ArrowLeft: weight - size, ArrowRight: weight + size, Home: 0, End: 1 }[event.key];
    const other = { ArrowUp: place - 1, ArrowDown: place + 1 }[event.key];
    if (next === undefined && other === undefined && event.key !== "l") return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "l") this.profile.lock(place);
    else if (next !== undefined) this.view.burst(() => this.profile.bend(place, fourDigits(next), this.radius));
    else this.rows[clamp(other, 0, this.rows.length - 1)].track.focus();
  }
}
