// @ts-check
// Marked regions with notes: dragged on any pane, drawn over all of them, kept by the server with the picture.
//
// The marks are those of the picture that is shown. While a region is being marked, a drag sets it and does not move the picture.

import { button, el, plural, setAttribute, setText } from "./dom.js";
import { Trouble, request } from "./frames.js";
import { MarkCard, MarkLine } from "./marks-card.js";
import { boxOf, linkOf, placed, smallestAt } from "./marks-geometry.js";
import { toPicture } from "./zoom.js";

const STILL = 4; // pixels: who moves less has clicked
const [DARK, BRIGHT] = ["rgb(16 16 16 / .85)", "#ffd60a"]; // seen on any mask
const HINT = "Drag a region (Shift: ellipse), or arrow keys and Enter for two corners. Esc gives up.";

export class Marks {
  constructor(/** @type {import("./state.js").View} */ view, loader, /** @type {import("./panes.js").Panes} */ panes) {
    this.view = view;
    this.loader = loader;
    this.panes = panes;
    this.all = [];
    this.key = ""; // whose marks these are
    this.active = false;
    this.anchor = this.draft = this.hot = this.pressed = null;
    this.card = new MarkCard(view, { save: (mark, note) => this.save(mark, note), remove: (mark) => this.remove(mark) });
    this.line = new MarkLine();
    this.buildTools();
    this.listen(panes.root);
    panes.overlays.push(this);
    view.on("bundle", () => this.load());
    view.on("settings marks", () => this.show());
    view.on("pointer", () => this.follow());
    this.show();
  }

  get roots() {
    return [this.card.root, this.line.root];
  }

  // What stands in the panel of the look: the tool, whether marks are drawn, and the picture's marks.
  buildTools() {
    const { view } = this;
    this.tool = button("Mark a region", () => this.toggle(), { class: "toggle", "data-testid": "mark-tool" });
    this.shown = button("Marks", () => view.change({ marks: !view.settings.marks }), { class: "toggle", "data-testid": "marks-shown" });
    this.count = el("span", { class: "count", "data-testid": "marks-count" });
    this.list = el("div", { class: "mark-list", role: "group", "aria-label": "Marks of this picture", "data-testid": "mark-list", on: { keydown: (event) => this.walk(event) } });
    this.tools = el("div", { class: "mark-tools" }, el("div", { class: "mark-row" }, this.shown, this.tool, this.count), this.list);
  }

  // Before the panes' own gestures hear of it.
  listen(root) {
    root.addEventListener("pointerdown", (event) => this.down(event), true);
    root.addEventListener("pointermove", (event) => (this.round = event.shiftKey), true);
    root.addEventListener("pointerup", (event) => this.up(event), true);
    root.addEventListener("pointercancel", () => this.drop(), true);
    root.addEventListener("keydown", (event) => this.corner(event), true);
    this.escape = (event) => {
      if (event.key !== "Escape" || !(this.active || this.card.mark)) return;
      event.preventDefault();
      this.stop();
    };
    document.addEventListener("keydown", this.escape, true);
  }

  // --- marking ---

  toggle() {
    if (this.active) this.stop();
    else this.start();
  }

  start() {
    const viewport = [...this.panes.root.querySelectorAll(".viewport")].find((one) => one.clientWidth > 0);
    if (!viewport) return;
    this.card.close();
    this.active = true;
    const panel = this.tools.closest("details");
    if (panel) panel.open = false;
    if (!this.view.settings.marks) this.view.change({ marks: true });
    this.line.say(HINT);
    if (!this.panes.root.contains(this.panes.root.getRootNode().activeElement)) viewport.focus({ preventScroll: true });
    this.show();
  }

  stop() {
    this.active = false;
    this.anchor = this.draft = this.pressed = null;
    this.card.close();
    this.line.say("");
    this.show();
  }

  drop() {
    this.anchor = this.draft = this.pressed = null;
    this.panes.schedule();
  }

  point(viewport, event) {
    const box = viewport.getBoundingClientRect();
    return toPicture(this.view, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  down(event) {
    const viewport = event.target.closest(".viewport");
    if (event.button !== 0 || !viewport || event.target.closest(".divider")) return;
    this.pressed = { viewport, x: event.clientX, y: event.clientY };
    if (!this.active) return;
    event.stopPropagation();
    event.preventDefault();
    viewport.setPointerCapture(event.pointerId);
    this.round = event.shiftKey;
    this.anchor = this.point(viewport, event);
  }

  up(event) {
    const { pressed } = this;
    this.pressed = null;
    if (!pressed) return;
    const still = Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) < STILL;
    if (this.active) {
      this.round = event.shiftKey;
      if (still) this.drop();
      else this.finish(pressed.viewport, this.point(pressed.viewport, event));
    } else if (still) this.click(pressed.viewport, this.point(pressed.viewport, event));
  }

  click(viewport, point) {
    const mark = smallestAt(this.seen, point);
    if (mark) this.open(mark, viewport);
    else if (!this.card.changed) this.card.close();
  }

  // From the keyboard: Enter sets one corner where the read-out is, and then the other.
  corner(event) {
    const viewport = event.target.closest(".viewport");
    if (!this.active || event.key !== "Enter" || viewport !== event.target) return;
    event.preventDefault();
    event.stopPropagation();
    this.round = event.shiftKey;
    const point = this.view.pointer ?? toPicture(this.view, 0.5, 0.5);
    if (this.anchor) this.finish(viewport, point);
    else this.anchor = point;
  }

  follow() {
    if (!this.anchor || !this.view.pointer) return;
    this.draft = { shape: this.shape, box: boxOf(this.anchor, this.view.pointer) };
    this.panes.schedule();
  }

  get shape() {
    return this.round ? "ellipse" : "rectangle";
  }

  finish(viewport, point) {
    const box = boxOf(this.anchor, point);
    if (!(box[2] > 0 && box[3] > 0)) return this.drop();
    this.active = false;
    this.anchor = null;
    this.draft = { id: null, shape: this.shape, box, note: "", view: "" };
    this.line.say("");
    this.card.open(this.draft, viewport);
    return this.show();
  }

  // --- what is kept ---

  async load() {
    const { base, index } = this.loader.shown;
    const key = `${base}/${index}`;
    if (key === this.key) return;
    this.key = key;
    this.all = [];
    this.stop();
    await this.ask(key, `${base}/marks/${index}`, {});
  }

  open(mark, viewport = null) {
    this.hot = mark.id;
    this.draft = null;
    this.line.say("");
    this.card.open(mark, viewport ?? [...this.panes.root.querySelectorAll(".viewport")].find((one) => one.clientWidth > 0));
    this.show();
  }

  async save(mark, note) {
    const wish = mark.id ? { id: mark.id, note } : { shape: mark.shape, box: mark.box, note, view: linkOf(window.location) };
    const answer = await this.send("POST", wish);
    if (!answer || this.card.mark !== mark) return;
    this.hot = answer.changed;
    this.card.close();
  }

  async remove(mark) {
    const answer = await this.send("DELETE", { id: mark.id });
    if (!answer) return;
    if (this.card.mark === mark) this.card.close();
    this.line.say("The mark is removed.", () => this.send("POST", { id: mark.id, restore: true }));
  }

  send(method, wish) {
    const { base, index } = this.loader.shown;
    return this.ask(`${base}/${index}`, `${base}/marks/${index}`, { method, body: JSON.stringify(wish), headers: { "Content-Type": "application/json" } });
  }

  // Null where it failed, which is said; what comes too late is not of the picture that is shown.
  async ask(key, url, options) {
    try {
      const answer = await (await request(url, options)).json();
      if (this.disposed || key !== this.key) return null;
      this.all = answer.marks;
      this.show();
      return answer;
    } catch (error) {
      const told = error instanceof Trouble ? error : new Trouble(`marks that cannot be read (${error.message})`, "a list of marks", "load the page again");
      if (!this.disposed) this.view.emit("trouble", told);
      return null;
    }
  }

  // --- what is shown ---

  get seen() {
    const { shown } = this.loader;
    return this.view.settings.marks && shown && `${shown.base}/${shown.index}` === this.key ? this.all : [];
  }

  show() {
    if (!this.card.mark && !this.anchor) this.draft = null;
    setAttribute(this.tool, "aria-pressed", this.active);
    setAttribute(this.shown, "aria-pressed", this.view.settings.marks);
    setText(this.count, this.all.length ? plural(this.all.length, "mark") : "none in this picture");
    this.panes.root.classList.toggle("marking", this.active);
    this.showList();
    this.panes.schedule();
  }

  showList() {
    const signature = JSON.stringify(this.all);
    if (signature === this.signature) return;
    this.signature = signature;
    this.list.replaceChildren(...this.all.map((mark, place) => this.entry(mark, place)));
  }

  entry(mark, place) {
    const light = () => {
      this.hot = mark.id;
      this.panes.schedule();
    };
    const entry = button(`${place + 1}  ${mark.note}`, () => this.open(mark), {
      class: "mark-entry", title: mark.note, tabindex: place ? "-1" : "0", "data-testid": `mark-${place + 1}`,
    });
    for (const type of ["focus", "pointerenter"]) entry.addEventListener(type, light);
    return entry;
  }

  // One stop of Tab for all marks; arrows go from one to the next.
  walk(event) {
    const entries = [...this.list.children];
    const here = entries.indexOf(event.target);
    const next = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (here < 0 || !entries[next]) return;
    event.preventDefault();
    event.stopPropagation();
    entries.forEach((one, place) => setAttribute(one, "tabindex", place === next ? "0" : "-1"));
    entries[next].focus();
  }

  // Over a pane's picture and mask, in the pane's own zoom.
  draw(/** @type {CanvasRenderingContext2D} */ context, x, y, width, height) {
    const ratio = window.devicePixelRatio || 1;
    context.globalAlpha = 1;
    this.seen.forEach((mark, place) => drawMark(context, mark, placed(mark.box, x, y, width, height), ratio, mark.id === this.hot, place + 1));
    if (this.draft) drawMark(context, this.draft, placed(this.draft.box, x, y, width, height), ratio, true, 0);
  }

  dispose() {
    this.disposed = true;
    document.removeEventListener("keydown", this.escape, true);
  }
}

function drawMark(context, { shape }, box, ratio, hot, number) {
  context.beginPath();
  if (shape === "ellipse") context.ellipse(box.x + box.width / 2, box.y + box.height / 2, box.width / 2, box.height / 2, 0, 0, 2 * Math.PI);
  else context.rect(box.x, box.y, box.width, box.height);
  stroke(context, DARK, ratio * (hot ? 7 : 5));
  stroke(context, BRIGHT, ratio * (hot ? 4 : 2));
  if (number) drawNumber(context, String(number), box, ratio);
}

function stroke(context, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
}

function drawNumber(context, text, { x, y }, ratio) {
  context.font = `600 ${13 * ratio}px sans-serif`;
  context.textBaseline = "top";
  const width = context.measureText(text).width + 8 * ratio;
  context.fillStyle = DARK;
  context.fillRect(x, y, width, 18 * ratio);
  context.fillStyle = BRIGHT;
  context.fillText(text, x + 4 * ratio, y + 3 * ratio);
}
