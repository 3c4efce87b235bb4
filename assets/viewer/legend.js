// @ts-check
// The classes: colour, name, IoU of A, merge and B, and what merging changes. A click hides a class, alt-click leaves it alone.

import { bare, button, el, known, setAttribute, setText, signed } from "./dom.js";
import { tone } from "./numbers.js";

export class Legend {
  constructor(/** @type {import("./state.js").View} */ view, loader) {
    this.view = view;
    this.loader = loader;
    this.rows = new Map();
    this.source = el("p", { class: "quiet-text", "data-testid": "legend-source" });
    this.scopes = [["split", "All pictures"], ["picture", "This picture"]].map(([scope, label]) =>
      button(label, () => view.change({ scope }), { "data-scope": scope, "data-testid": `scope-${scope}` }));
    this.body = el("div", { class: "legend-rows", on: { keydown: (event) => this.walk(event), focusin: (event) => this.hold(event.target) } });
    this.otherHead = el("span", { class: "cell" }, "B");
    this.outside = el("p", { class: "quiet-text", "data-testid": "legend-outside" }, "Bare: outside, the network says a class that is none of these");
    const ids = () => view.data.classes.map((entry) => entry.id);
    this.root = el("section", { class: "card legend", "aria-label": "Classes" },
      el("div", { class: "legend-top" }, el("h2", {}, "Classes"),
        button("All", () => view.change({ hidden: [] }), { class: "quiet", "data-testid": "classes-all" }),
        button("None", () => view.change({ hidden: ids() }), { class: "quiet", "data-testid": "classes-none" })),
      el("div", { class: "segments", role: "group", "aria-label": "IoU of" }, ...this.scopes),
      this.source,
      el("div", { class: "legend-row legend-names", "aria-hidden": "true" }, el("span"), el("span", {}, "IoU, %"), el("span", { class: "cell" }, "A"), el("span", { class: "cell" }, "Merge"), this.otherHead, el("span", { class: "cell" }, "Change")),
      this.body, this.outside);
    view.on("data settings", () => this.rebuild());
    view.on("mixture sweep frame bundle other", () => this.later());
    this.rebuild();
  }

  rebuild() {
    const { classes } = this.view;
    this.root.hidden = !classes.length;
    this.outside.hidden = !this.view.data.outside;
    const signature = JSON.stringify(classes);
    if (signature !== this.signature) {
      this.signature = signature;
      this.rows = new Map(classes.map((entry) => [entry.id, this.row(entry)]));
      this.body.replaceChildren(...[...this.rows.values()].map((row) => row.root));
      this.hold(this.body.firstElementChild);
    }
    this.show();
  }

  // One stop of Tab for all classes; arrows go from one to the next.
  walk(event) {
    const rows = [...this.rows.values()].map((row) => row.root);
    const here = rows.indexOf(event.target);
    const next = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (here < 0 || !rows[next]) return;
    event.preventDefault();
    event.stopPropagation();
    rows[next].focus();
  }

  hold(row) {
    for (const { root } of this.rows.values()) setAttribute(root, "tabindex", root === row ? "0" : "-1");
  }

  row(entry) {
    const row = { swatch: el("span", { class: "swatch" }), cells: ["a", "m", "b", "change"].map(() => el("span", { class: "cell" })) };
    row.swatch.style.background = entry.css;
    row.root = el("button", {
      type: "button", class: "legend-row", title: "Click: hide or show. Alt or shift click: only this class.", "data-testid": `class-${entry.id}`,
      on: { click: (event) => this.view.toggleClass(entry.id, event.altKey || event.shiftKey) },
    }, row.swatch, el("span", { class: "class-name" }, entry.name), ...row.cells);
    return row;
  }

  // Once a displayed frame is enough, however many events came.
  later() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.show();
    });
  }

  get scope() {
    return this.view.settings.scope ?? (this.view.sweep?.points.length ? "split" : "picture");
  }

  show() {
    const { view, scope } = this;
    const hidden = new Set(view.settings.hidden);
    const scores = scope === "split" ? this.splitScores() : this.pictureScores();
    for (const one of this.scopes) setAttribute(one, "aria-pressed", one.dataset.scope === scope);
    setText(this.source, scores.source);
    setText(this.otherHead, view.letterOf("b").toUpperCase());
    view.data.classes.forEach((entry, place) => {
      const row = this.rows.get(entry.id);
      setAttribute(row.root, "aria-pressed", !hidden.has(entry.id));
      this.fill(row, scores.a(entry.id, place), scores.m(entry.id, place), scores.b(entry.id, place));
    });
  }

  fill(row, a, m, b) {
    [a, m, b].forEach((value, place) => setText(row.cells[place], bare(value)));
    const best = Math.max(known(a) ? a : -1, known(b) ? b : -1);
    const change = known(m) && best >= 0 ? m - best : null;
    setText(row.cells[3], known(change) ? signed(100 * change) : "");
    row.cells[3].className = `cell ${known(change) ? tone(change, 5e-4) : ""}`;
  }

  splitScores() {
    const { sweep } = this.view;
    const measured = this.view.measured();
    const [a, b] = [sweep?.own("a"), sweep?.own(this.view.letterOf("b"))];
    const of = (one) => (id, place) => one?.iou?.[place] ?? null;
    return { a: of(a), m: of(measured?.point), b: of(b), source: measured ? `Measured ${measured.where}` : "Not measured yet" };
  }

  pictureScores() {
    const bundle = this.loader.shown;
    const of = (frame) => (id) => frame?.scores?.iou?.[id] ?? null;
    const without = bundle?.m ? "No ground truth for this picture" : "No frame yet";
    const source = bundle?.m?.scores?.iou ? `Live: ${bundle.m.label}` : without;
    return { a: of(bundle?.a), m: of(bundle?.m), b: of(bundle?.b), source };
  }

  dispose() {
    cancelAnimationFrame(this.pending);
  }
}
