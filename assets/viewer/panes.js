// @ts-check
// The panes: picture and mask on canvases, titles, cross-hairs; side by side or as one stage with wipe and blink.

import { button, clamp, el, percent, reducedMotion, setAttribute, setText } from "./dom.js";
import { MaskLayer } from "./layer.js";
import { lensOf } from "./lenses.js";
import { serves } from "./lenses-doubt.js";
import { Overlay } from "./overlay.js";
import { Palette } from "./paint.js";
import { PANES, mapOf } from "./pane-registry.js";
import { Gestures, toPane, toPicture } from "./zoom.js";

const BLINK_MS = 500; // 2 Hz is a full change of both panes a second
const SLOW_BLINK_MS = 1500;
const SMOOTH_UP_TO = 2; // above this zoom a mask pixel is drawn as a square
const NUDGE = 0.01;
const LEAST_ROOM = 320; // pixels: below that the page scrolls
const BELOW = 16;

// One canvas with its title bar, gestures and cross-hair.
class Pane {
  constructor(/** @type {import("./state.js").View} */ view, id, label) {
    this.canvas = el("canvas", { "data-testid": `canvas-${id}` });
    this.context = this.canvas.getContext("2d");
    this.cross = el("div", { class: "cross", hidden: true });
    this.viewport = el("div", {
      class: "viewport", tabindex: "0", role: "img", "aria-label": `${label}: arrow keys move the read-out`, "data-testid": `viewport-${id}`,
    }, this.canvas, this.cross);
    this.title = el("span", { class: "pane-name" });
    this.metric = el("span", { class: "pane-metric" }); // what the score is: goes where the pane is narrow
    this.score = el("span", {});
    this.note = el("span", { class: "pane-note", "data-testid": `note-${id}` }, this.metric, this.score);
    this.bar = el("div", { class: "pane-bar" }, el("span", { class: `dot dot-${id}` }), this.title, this.note);
    this.root = el("figure", { class: "pane", "data-pane": id, "data-testid": `pane-${id}` }, this.bar, this.viewport);
    this.gestures = new Gestures(view, this.viewport);
    this.viewport.addEventListener("keydown", (event) => this.keys(view, event));
  }

  // Arrow keys walk the read-out over the picture, for those without a mouse.
  keys(view, event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const { u, v } = view.pointer ?? toPicture(view, 0.5, 0.5);
    view.pointer = { u: clamp(u + step[0] * NUDGE, 0, 1), v: clamp(v + step[1] * NUDGE, 0, 1) };
    view.pointed = this.viewport;
    view.emit("pointer");
  }

  fit() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.viewport.clientWidth * ratio);
    const height = Math.round(this.viewport.clientHeight * ratio);
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
  }

  // `parts`: [{layer, from, to}] masks over the picture, each between two fractions of the pane's width.
  draw(view, picture, parts, overlays) {
    this.fit();
    const { width, height } = this.canvas;
    const { scale, x, y } = view.settings.zoom;
    const { context } = this;
    context.globalAlpha = 1;
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = true;
    if (picture) context.drawImage(picture, -x * scale * width, -y * scale * height, scale * width, scale * height);
    if (view.settings.masks) this.drawMasks(view, parts);
    for (const one of overlays) one.draw(context, -x * scale * width, -y * scale * height, scale * width, scale * height);
  }

  drawMasks(view, parts) {
    const { context } = this;
    const { width, height } = this.canvas;
    const { scale, x, y } = view.settings.zoom;
    context.imageSmoothingEnabled = scale <= SMOOTH_UP_TO;
    context.globalAlpha = lensOf(view.settings.lens).solid ? 1 : view.settings.opacity;
    for (const { layer, from, to } of parts) {
      if (!layer.frame) continue;
      context.save();
      context.beginPath();
      context.rect(from * width, 0, (to - from) * width, height);
      context.clip();
      context.drawImage(layer.canvas, -x * scale * width, -y * scale * height, scale * width, scale * height);
      context.restore();
    }
  }

  showCross(view) {
    const place = view.pointer && toPane(view, view.pointer);
    const inside = place && place.px >= 0 && place.px <= 1 && place.py >= 0 && place.py <= 1;
    this.cross.hidden = !inside;
    if (inside) this.cross.style.transform = `translate(${place.px * this.viewport.clientWidth}px, ${place.py * this.viewport.clientHeight}px)`;
  }
}

// How far what holds an element has been scrolled; a shadow root's host goes on outside.
function scrolled(element) {
  let sum = 0;
  for (let node = element; node; node = node.parentElement ?? node.getRootNode()?.host) sum += node.scrollTop;
  return sum;
}

// Very large pictures pass through the network at a part of their size: what is shown and scored is that.
export const reduced = (frame) => (frame?.scores?.scale > 1 ? `shown at 1/${frame.scores.scale}` : "");

export class Panes {
  constructor(/** @type {import("./state.js").View} */ view, loader) {
    this.view = view;
    this.loader = loader;
    this.palette = new Palette();
    this.layers = Object.fromEntries([...PANES.keys()].map((id) => [id, new MaskLayer()]));
    this.dirty = new Set();
    this.build();
    this.observer = new ResizeObserver(() => this.schedule());
    for (const pane of [...Object.values(this.panes), this.stage]) this.observer.observe(pane.viewport);
    this.fitting = new ResizeObserver(() => this.fitRoom());
    this.fitting.observe(this.root);
    this.fitWindow = () => this.fitRoom();
    window.addEventListener("resize", this.fitWindow);
    view.on("frame", (pane) => this.repaint(this.alone(pane) ? pane : null));
    view.on("bundle data", () => this.refresh());
    view.on("settings other", () => this.refresh());
    view.on("compare zoom", () => this.schedule());
    view.on("pointer", () => this.showCrosses());
    view.on("mixture picture trouble recovered", () => this.showWaiting());
    this.refresh();
  }

  build() {
    const { view } = this;
    this.panes = {};
    for (const kind of PANES.values()) this.panes[kind.id] = new Pane(view, kind.id, kind.short(view));
    this.enlarge = button("", () => view.change({ large: !view.settings.large }), { class: "quiet", "data-testid": "enlarge" });
    this.panes.m.bar.append(this.enlarge);
    this.stage = new Pane(view, "stage", "Comparison");
    this.buildDivider();
    this.grid = el("div", { class: "grid" }, ...Object.values(this.panes).map(({ root }) => root));
    this.message = el("div", { class: "message", role: "status", "data-testid": "message" });
    this.overlay = new Overlay(view, this.loader, () => this.schedule());
    /** @type {Array<{draw(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number): void}>} */
    this.overlays = [this.overlay];
    this.root = el("section", { class: "panes", "aria-label": "Pictures" }, this.message, this.overlay.note, this.grid, this.stage.root);
  }

  buildDivider() {
    this.divider = el("div", {
      class: "divider", role: "slider", tabindex: "0", "aria-label": "Divider between the two panes", "aria-valuemin": 0, "aria-valuemax": 100, "data-testid": "divider",
    });
    this.stage.viewport.append(this.divider);
    const follow = (event) => {
      const box = this.stage.viewport.getBoundingClientRect();
      this.view.adjust({ split: clamp((event.clientX - box.left) / box.width, 0, 1) });
    };
    this.divider.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      this.divider.setPointerCapture(event.pointerId);
    });
    this.divider.addEventListener("pointermove", (event) => {
      if (this.divider.hasPointerCapture(event.pointerId)) follow(event);
    });
    this.divider.addEventListener("dblclick", (event) => {
      event.stopPropagation();
      this.view.adjust({ split: 0.5 });
    });
    this.divider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.view.adjust({ split: clamp(this.view.settings.split + step, 0, 1) });
    });
  }

  refresh() {
    const { view } = this;
    const { data, settings } = view;
    const live = data.live;
    const grid = settings.layout === "grid";
    const shown = view.panes().filter((pane) => view.shows(pane));
    this.palette.update(view.classes, settings.hidden);
    this.root.style.setProperty("--aspect", data.size[0] / data.size[1]);
    this.root.style.setProperty("--other", `var(--${view.letterOf("b")})`);
    setText(this.message, live ? "" : data.message ?? "The pictures cannot be shown.");
    this.message.hidden = live;
    this.grid.hidden = !live || !grid;
    this.stage.root.hidden = !live || grid;
    this.divider.hidden = settings.layout !== "wipe";
    this.grid.classList.toggle("has-large", settings.large && view.shows("m"));
    this.grid.dataset.count = String(shown.length);
    this.root.style.setProperty("--rows", String(Math.ceil(shown.length / (shown.length > 4 ? 3 : 2))));
    for (const [id, pane] of Object.entries(this.panes)) pane.root.hidden = !shown.includes(id);
    setText(this.enlarge, settings.large ? "⤡" : "⤢");
    setAttribute(this.enlarge, "title", settings.large ? "Equal size" : "Enlarge");
    setAttribute(this.enlarge, "aria-label", settings.large ? "All panes in equal size" : "Enlarge the merge");
    setAttribute(this.enlarge, "aria-pressed", settings.large);
    this.runBlink();
    this.repaint();
  }

  // What the window has for the pictures, as they lie before anything is scrolled: all of them are seen at once.
  fitRoom() {
    const top = this.root.getBoundingClientRect().top + scrolled(this.root);
    const below = BELOW + (Number.parseFloat(getComputedStyle(this.root).getPropertyValue("--presenter-bar")) || 0);
    this.root.style.setProperty("--room", `${Math.max(LEAST_ROOM, Math.floor(window.innerHeight - top - below))}px`);
  }

  runBlink() {
    const wanted = this.view.settings.layout === "blink" && this.view.data.live;
    if (wanted === Boolean(this.blinking)) return;
    clearInterval(this.blinking);
    this.blinking = wanted ? setInterval(() => this.blink(), reducedMotion() ? SLOW_BLINK_MS : BLINK_MS) : null;
  }

  blink() {
    this.flipped = !this.flipped;
    this.schedule();
  }

  repaint(pane = null) {
    for (const id of pane ? [pane] : PANES.keys()) this.dirty.add(id);
    this.schedule();
  }

  schedule() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.draw();
    });
  }

  frameOf(pane) {
    return mapOf(pane, this.loader.shown);
  }

  // Whether no other pane's colours depend on this one's map.
  alone(pane) {
    const { lens, reference } = this.view.settings;
    const compared = lensOf(lens).needs.includes("reference") && pane === reference;
    return !compared && ![...PANES.values()].some(({ needs }) => needs?.includes(pane));
  }

  paintLayers() {
    const { settings } = this.view;
    const truth = this.frameOf("t");
    for (const id of this.dirty) {
      if (PANES.get(id).optional && !this.view.uses(id)) continue;
      const reference = id === settings.reference ? null : this.frameOf(settings.reference);
      this.layers[id].paint(this.frameOf(id), settings, this.palette, PANES.get(id).network, { truth, reference });
    }
    this.dirty.clear();
  }

  draw() {
    if (!this.view.data.live || this.disposed) return;
    const started = performance.now();
    this.paintLayers();
    if (this.view.settings.layout === "grid") this.drawGrid();
    else this.drawStage();
    this.showTitles();
    this.showCrosses();
    this.root.dataset.paintMs = (performance.now() - started).toFixed(2);
  }

  drawGrid() {
    const picture = this.loader.shown?.picture ?? null;
    for (const [id, pane] of Object.entries(this.panes)) {
      if (pane.root.hidden) continue;
      const source = id === "m" && this.view.swapped ? this.view.settings.left : id;
      pane.draw(this.view, picture, [{ layer: this.layers[source], from: 0, to: 1 }], this.overlays);
    }
  }

  drawStage() {
    const { settings, swapped } = this.view;
    const picture = this.loader.shown?.picture ?? null;
    const [left, right] = this.view.swapped ? [settings.right, settings.left] : [settings.left, settings.right];
    let parts = [{ layer: this.layers[left], from: 0, to: settings.split }, { layer: this.layers[right], from: settings.split, to: 1 }];
    if (settings.layout === "blink") parts = [{ layer: this.layers[this.flipped !== swapped ? right : left], from: 0, to: 1 }];
    this.stage.draw(this.view, picture, parts, this.overlays);
    this.divider.style.left = `${100 * settings.split}%`;
    setAttribute(this.divider, "aria-valuenow", Math.round(100 * settings.split));
    setText(this.stage.title, this.stageTitle(left, right));
  }

  stageTitle(left, right) {
    const { view } = this;
    if (view.settings.layout === "wipe") return `${view.fullName(left)}  |  ${view.fullName(right)}`;
    return view.fullName(this.flipped !== view.swapped ? right : left);
  }

  showTitles() {
    const merge = this.frameOf("m");
    for (const [id, pane] of Object.entries(this.panes)) {
      const frame = this.frameOf(id);
      const name = id === "m" && this.view.swapped ? `${this.view.fullName(this.view.settings.left)} (compare)` : this.view.fullName(id);
      setText(pane.title, name);
      const score = frame?.scores?.miou != null ? percent(frame.scores.miou) : "";
      setText(pane.metric, score && (id === "m" || !this.view.settings.large) ? "mIoU " : "");
      setText(pane.score, [score, reduced(this.frameOf("m"))].filter(Boolean).join(" "));
      setAttribute(pane.canvas, "data-alpha", frame?.mixture);
      setAttribute(pane.canvas, "data-picture", frame ? this.loader.shown.index : null);
    }
    if (merge && !this.view.swapped) setText(this.panes.m.title, merge.label);
    this.showWaiting();
  }

  // A pane that shows another mixture than the one that is set, or none yet, says that it waits: dimmed after a moment, so
  // that a drag at its usual pace does not flicker.
  showWaiting() {
    const wish = this.view.wish();
    const pending = Boolean(this.loader.next);
    for (const [id, pane] of Object.entries(this.panes)) {
      const frame = this.frameOf(id);
      const { follows, source, wish: own } = PANES.get(id);
      setAttribute(pane.root, "data-unready", Boolean(follows) && !wish && this.view.data.live);
      const other = follows ? Boolean(wish) && frame?.mixture !== own?.(this.view)?.mixture : source !== "truth" && !frame;
      const late = other || (source === "frame" && Boolean(frame) && !serves(frame, this.view.settings.lens));
      const failed = this.loader.troubled.has(id) && !pending;
      setAttribute(pane.root, "data-waits", (pending || late) && !failed && this.view.data.live);
      setAttribute(pane.root, "data-failed", failed && late && this.view.data.live);
    }
  }

  showCrosses() {
    for (const pane of [...Object.values(this.panes), this.stage]) if (!pane.root.hidden) pane.showCross(this.view);
  }

  dispose() {
    this.disposed = true;
    this.overlay.dispose();
    clearInterval(this.blinking);
    cancelAnimationFrame(this.pending);
    this.observer.disconnect();
    this.fitting.disconnect();
    window.removeEventListener("resize", this.fitWindow);
  }
}
