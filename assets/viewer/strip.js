// @ts-check
// Where in alpha: the present picture at seven alphas in a row, the object under the pointer outlined and named in each.
//
// Asked for only while it is unfolded, one after another, and never before the frame that the hand waits for.

import { alphaKey, alphaText, el, percent, setAttribute, setText } from "./dom.js";
import { Lane, wishAlpha } from "./frames.js";
import { MaskLayer } from "./layer.js";
import { wishTogether } from "./learners.js";
import { lensOf } from "./lenses.js";
import { wishFor } from "./lenses-doubt.js";
import { Palette } from "./paint.js";
import { Region } from "./region.js";
import { toPane } from "./zoom.js";

export const ALPHAS = [0, 1, 2, 3, 4, 5, 6].map((sixths) => Number(alphaKey(sixths / 6)));
const LOOK_AGAIN_MS = 120;

/** @returns {[number, number]} */
const placeIn = ({ width, height }, { u, v }) => [Math.min(width - 1, Math.floor(u * width)), Math.min(height - 1, Math.floor(v * height))];

export class Strip {
  constructor(/** @type {import("./state.js").View} */ view, loader) {
    this.view = view;
    this.loader = loader;
    this.palette = new Palette();
    this.stale = true; // colours are to be painted anew
    this.places = ALPHAS.map((alpha) => this.place(alpha));
    this.root = el("details", { class: "strip", "data-testid": "alpha-strip", on: { toggle: () => this.show() } },
      el("summary", {}, "Where in alpha"), el("div", { class: "strip-row" }, ...this.places.map(({ root }) => root)));
    this.lane = new Lane("strip", loader.cache, (frame, job) => this.arrived(frame, job), () => {});
    view.on("bundle data settings", () => this.later(true));
    view.on("zoom settled", () => this.later());
    view.on("mixture", () => this.showCurrent()); // under the hand no frame here becomes another
    view.on("frame", (pane) => (pane === "m" ? null : this.later(true))); // the truth or a reference: colours
    view.on("pointer", () => this.pointed());
    this.show();
  }

  place(alpha) {
    const canvas = el("canvas", {});
    const outline = el("canvas", { class: "strip-outline" });
    const cross = el("i", { class: "strip-cross", hidden: true });
    const said = el("span", { class: "strip-said" });
    const root = el("button", {
      type: "button", "aria-label": `alpha ${alphaText(alpha)}`, "data-testid": `strip-${alphaKey(alpha)}`,
      on: { click: () => this.view.nudge(alpha, true) },
    }, el("span", { class: "strip-box" }, canvas, outline, cross), el("span", { class: "strip-alpha" }, alpha.toFixed(2)), said);
    return { alpha, canvas, outline, cross, said, root, layer: new MaskLayer(), region: new Region(), frame: null };
  }

  // There is no strip of what has no alpha of its own.
  get open() {
    const { data, mixture } = this.view;
    return this.root?.open && mixture.field === "alpha" && data.live;
  }

  later(recolour = false) {
    this.stale ||= recolour;
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.show();
    });
  }

  show() {
    const { data, mixture, settings } = this.view;
    this.root.hidden = mixture.field !== "alpha" || !data.live;
    if (!this.open || !this.loader.shown) return;
    this.palette.update(this.view.classes, settings.hidden);
    this.root.style.setProperty("--aspect", String(data.size[0] / data.size[1]));
    for (const one of this.places) this.draw(one);
    this.stale = false;
    this.showCurrent();
    this.showPointer();
    this.next();
  }

  wish(alpha) {
    return wishFor(this.view.settings.lens, wishTogether(this.view, wishAlpha(alpha)));
  }

  frameAt(alpha) {
    const { base, index } = this.loader.shown;
    return this.loader.cache.get(`${base}/${index}/${this.wish(alpha).key}`);
  }

  // The first that is missing, once the frame of the hand is there.
  next() {
    clearTimeout(this.waiting);
    if (!this.open || this.loader.next || !this.loader.shown) return;
    const missing = this.places.find(({ alpha }) => !this.frameAt(alpha));
    if (!missing) return;
    if (this.view.moving || !this.view.framed()) this.waiting = setTimeout(() => this.next(), LOOK_AGAIN_MS);
    else this.lane.want(this.loader.shown.base, this.loader.shown.index, { ...this.wish(missing.alpha), pane: "strip" });
  }

  arrived(_, job) {
    const { shown } = this.loader;
    if (shown && shown.base === job.base && shown.index === job.index) this.later();
  }

  draw(place) {
    const { settings } = this.view;
    const { canvas, layer } = place;
    const { shown } = this.loader;
    const frame = this.frameAt(place.alpha);
    if (this.stale || frame !== place.frame) layer.paint(frame, settings, this.palette, true, { truth: shown.t, reference: shown[settings.reference] ?? null });
    place.frame = frame;
    setAttribute(place.root, "data-waits", !frame);
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const { scale, x, y } = settings.zoom;
    const box = /** @type {[number, number, number, number]} */ ([-x * scale * width, -y * scale * height, scale * width, scale * height]);
    context.clearRect(0, 0, width, height);
    if (shown.picture) context.drawImage(shown.picture, ...box);
    if (!frame || !settings.masks) return;
    context.globalAlpha = lensOf(settings.lens).solid ? 1 : settings.opacity;
    context.drawImage(layer.canvas, ...box);
    context.globalAlpha = 1;
  }

  showCurrent() {
    for (const { alpha, root } of this.places) setAttribute(root, "aria-current", Math.abs(alpha - this.view.alpha) < 5e-4);
  }

  // Once a displayed frame, however fast the hand is.
  pointed() {
    if (!this.open) return;
    this.pointing ??= requestAnimationFrame(() => {
      this.pointing = null;
      this.showPointer();
    });
  }

  // The object under the pointer at every alpha, outlined; without a pointer, how well the picture is labelled.
  showPointer() {
    if (!this.open) return;
    const { pointer } = this.view;
    for (const one of this.places) {
      const { frame, said, cross, canvas } = one;
      const at = pointer && toPane(this.view, pointer);
      const inside = at && at.px >= 0 && at.px <= 1 && at.py >= 0 && at.py <= 1;
      cross.hidden = !inside;
      if (inside) cross.style.transform = `translate(${at.px * canvas.clientWidth}px, ${at.py * canvas.clientHeight}px)`;
      this.outline(one, inside ? pointer : null);
      setText(said, pointer ? this.words(one, pointer) : frame?.scores?.miou != null ? percent(frame.scores.miou) : "");
    }
  }

  // The region's edge in the zoom of the frames; nothing without a pointer.
  outline({ frame, canvas, outline, region }, pointer) {
    if (outline.width !== canvas.width || outline.height !== canvas.height) Object.assign(outline, { width: canvas.width, height: canvas.height });
    const context = outline.getContext("2d");
    context.clearRect(0, 0, outline.width, outline.height);
    if (!pointer || !frame) return;
    region.follow(frame, ...placeIn(frame, pointer));
    const { scale, x, y } = this.view.settings.zoom;
    const { width, height } = outline;
    context.drawImage(region.canvas, -x * scale * width, -y * scale * height, scale * width, scale * height);
  }

  // The label under the pointer and the size of its object there.
  words({ frame, region }, pointer) {
    if (!frame) return "–";
    const [x, y] = placeIn(frame, pointer);
    const id = frame.words[y * frame.width + x] & 255;
    const name = this.view.classOf(id)?.name ?? (id === 255 ? "outside" : `class ${id}`);
    return region.map === frame ? `${name} · ${region.count.toLocaleString("en")} px` : name;
  }

  dispose() {
    clearTimeout(this.waiting);
    cancelAnimationFrame(this.pending);
    cancelAnimationFrame(this.pointing);
    this.lane.stop();
  }
}
