// @ts-check
// Taking pictures away: any pane as PNG at the picture's own resolution, a drag as an animated WebP, the curve as SVG and PNG.

import { button, clamp, el, setText } from "./dom.js";
import { request, fetchFrame, wishAlpha } from "./frames.js";
import { MaskLayer } from "./layer.js";
import { wishTogether } from "./learners.js";
import { lensOf } from "./lenses.js";
import { wishFor } from "./lenses-doubt.js";
import { PANES, mapOf } from "./pane-registry.js";
import { Palette } from "./paint.js";
import { standalone } from "./svgfile.js";

const DRAG_FRAMES = 21; // alpha 0, 0.05, ... 1
const DRAG_PIXELS = 1 << 20; // of one picture of an animation; what is larger is reduced
const CURVE_SCALE = 2;

// A pane as it is seen, without zoom: picture and mask at the picture's own resolution, or reduced to `most` pixels.
export function paneCanvas(view, palette, bundle, id, map = mapOf(id, bundle), most = Infinity) {
  const { picture } = bundle;
  const shrink = Math.min(1, Math.sqrt(most / (picture.width * picture.height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(picture.width * shrink));
  canvas.height = Math.max(1, Math.floor(picture.height * shrink));
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (!map || !view.settings.masks) return canvas;
  const { settings } = view;
  const layer = new MaskLayer();
  const reference = id === settings.reference ? null : mapOf(settings.reference, bundle);
  layer.paint(map, settings, palette, PANES.get(id).network, { truth: mapOf("t", bundle), reference });
  context.imageSmoothingEnabled = false;
  context.globalAlpha = lensOf(settings.lens).solid ? 1 : settings.opacity;
  context.drawImage(layer.canvas, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** @returns {Promise<Blob>} */
const pngOf = (canvas) =>
  new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no PNG of this canvas"))), "image/png"));

// Names of files and checkpoints come from outside: what is no letter, digit, dot, plus or hyphen becomes one underscore.
export const fileName = (...parts) => parts.map((part) => String(part).replace(/[^\p{L}\p{N}.+-]+/gu, "_").slice(0, 60)).join("-");

export function save(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// What the server puts together: pictures one after the other, each with its length before it.
export async function packed(blobs) {
  const lengths = blobs.map((blob) => new Uint8Array(new Uint32Array([blob.size]).buffer)); // little-endian, as browsers are
  return new Blob(blobs.flatMap((blob, place) => [lengths[place], blob]));
}

export class TakeAway {
  constructor(/** @type {import("./state.js").View} */ view, loader, curve) {
    this.view = view;
    this.loader = loader;
    this.curve = curve;
    this.palette = new Palette();
    this.panes = [...PANES.values()].map((kind) => ({ kind, button: button("", () => this.pane(kind.id), { "data-testid": `save-${kind.id}` }) }));
    this.drag = button("Drag (WebP)", () => this.animate(), { "data-testid": "save-drag", title: "Alpha from 0 to 1 in 21 pictures, without loss" });
    this.stop = button("Cancel", () => this.controller?.abort(), { class: "quiet", hidden: true });
    this.svg = button("Curve (SVG)", () => this.chart("svg"), { "data-testid": "save-curve-svg" });
    this.png = button("Curve (PNG)", () => this.chart("png"), { "data-testid": "save-curve-png" });
    this.said = el("span", { class: "quiet-text", role: "status", "data-testid": "save-said" });
    this.root = el("div", { class: "takeaway", role: "group", "aria-label": "Save" }, el("b", {}, "Save as PNG"), ...this.panes.map((one) => one.button),
      el("b", {}, "and"), this.drag, this.svg, this.png, this.stop, this.said);
    view.on("settings data bundle frame other mixture", () => this.show());
    this.show();
  }

  show() {
    const { view } = this;
    const offered = view.panes();
    for (const { kind, button: one } of this.panes) {
      one.hidden = !offered.includes(kind.id);
      setText(one, kind.short(view));
      one.disabled = !this.ready(kind.id);
    }
    this.drag.hidden = view.mixture.field !== "alpha";
    for (const one of [this.svg, this.png]) one.hidden = !view.mixture.onCurve;
  }

  // What is saved is what is shown: nothing before it is there.
  ready(id) {
    const bundle = this.loader.shown;
    const map = mapOf(id, bundle);
    const { follows, wish } = PANES.get(id);
    const late = follows && map?.mixture !== wish?.(this.view)?.mixture;
    return Boolean(bundle?.picture && map && !late && !this.loader.next);
  }

  name(...parts) {
    const { view } = this;
    return fileName(view.members.map(({ name }) => name).join("+"), `picture${view.index + 1}`, ...parts);
  }

  async pane(id) {
    const { view, loader } = this;
    if (!this.ready(id)) return this.say("The picture is on its way: try again in a moment");
    this.palette.update(view.data.classes, view.settings.hidden);
    const merge = PANES.get(id).follows ? loader.shown.m.label : PANES.get(id).short(view);
    save(await pngOf(paneCanvas(view, this.palette, loader.shown, id)), `${this.name(merge, view.settings.lens)}.png`);
    return this.say("");
  }

  say(text) {
    setText(this.said, text);
  }

  async animate() {
    if (this.controller || !this.loader.shown?.picture) return;
    this.controller = new AbortController();
    this.stop.hidden = false;
    this.drag.disabled = true;
    try {
      const blobs = await this.pictures(this.controller.signal);
      this.say("The server puts it together");
      const response = await request(`${this.view.data.base}/animation`, { method: "POST", body: await packed(blobs), signal: this.controller.signal });
      save(await response.blob(), `${this.name("drag", this.view.settings.lens)}.webp`);
      this.say("");
    } catch (error) {
      this.say(this.controller.signal.aborted ? "Cancelled" : `Got ${error.message}. ${error.todo ?? "Try again"}`);
    } finally {
      this.controller = null;
      this.stop.hidden = true;
      this.drag.disabled = false;
    }
  }

  async pictures(signal) {
    const { view, loader } = this;
    const bundle = loader.shown;
    this.palette.update(view.data.classes, view.settings.hidden);
    const blobs = [];
    for (let number = 0; number < DRAG_FRAMES; number += 1) {
      this.say(`Picture ${number + 1} of ${DRAG_FRAMES}`);
      const map = await this.frameAt(bundle, clamp(number / (DRAG_FRAMES - 1), 0, 1), signal);
      blobs.push(await pngOf(paneCanvas(view, this.palette, { ...bundle, m: map }, "m", map, DRAG_PIXELS)));
    }
    return blobs;
  }

  // From memory, else from the server; a hand that moves the slider meanwhile goes first, and this waits.
  async frameAt(bundle, alpha, signal) {
    const wish = wishFor(this.view.settings.lens, wishTogether(this.view, wishAlpha(alpha)));
    const key = `${bundle.base}/${bundle.index}/${wish.key}`;
    for (;;) {
      signal.throwIfAborted();
      const kept = this.loader.cache.get(key);
      if (kept) return kept;
      const frame = await fetchFrame({ ...wish, base: bundle.base, index: bundle.index }, "m", signal);
      if (frame?.mixture === wish.mixture) {
        this.loader.cache.set(key, frame);
        return frame;
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  async chart(kind) {
    const { width, height } = this.curve;
    const text = standalone(this.curve.svg, width, height);
    const name = fileName(this.view.members.map(({ name: one }) => one).join("+"), "curve", this.curve.metric);
    const blob = new Blob([text], { type: "image/svg+xml" });
    if (kind === "svg") return save(blob, `${name}.svg`);
    const image = new Image();
    image.src = URL.createObjectURL(blob);
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: width * CURVE_SCALE, height: height * CURVE_SCALE });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(image.src);
    return save(await pngOf(canvas), `${name}.png`);
  }

  dispose() {
    this.controller?.abort();
  }
}
