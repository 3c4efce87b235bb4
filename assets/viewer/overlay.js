// @ts-check
// The pixels that the page has chosen, outlined over every picture: the server says which they are, of the merge that is shown.
//
// Nothing is asked while alpha moves, and what is drawn is never that of another merge or picture.

import { el, plural, setAttribute, setText } from "./dom.js";
import { decodeLabelMap, request } from "./frames.js";

const KEPT = 24;
const COLOURS = [0x78101010, 0xff000000, 0xffffffff, 0]; // 0xAABBGGRR: dimmed, a dark line, a white one, bare

/**
 * The outline of the chosen pixels of a map (words of 255, else 0): themselves bare, a white line around them, a dark one around that.
 * @param {{width: number, height: number, words: Uint32Array}} map
 * @returns {{out: Uint32Array, count: number}}
 */
export function outlineOf({ width, height, words }) {
  const depth = new Uint8Array(words.length); // 3: chosen, 2: touches one that is, 1: touches these
  let count = 0;
  for (let i = 0; i < words.length; i++) {
    if (!(words[i] & 255)) continue;
    depth[i] = 3;
    count++;
  }
  for (const from of [3, 2]) grow(depth, width, height, from);
  return { out: Uint32Array.from(depth, (one) => COLOURS[one]), count };
}

function grow(depth, width, height, from) {
  for (let i = 0; i < depth.length; i++) {
    if (depth[i] !== from) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
      for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
        const place = row * width + column;
        if (depth[place] < from - 1) depth[place] = from - 1;
      }
    }
  }
}

export class Overlay {
  constructor(/** @type {import("./state.js").View} */ view, loader, redraw) {
    this.view = view;
    this.loader = loader;
    this.redraw = redraw;
    this.kept = new Map();
    this.drawn = null; // what lies over the pictures now
    this.note = el("p", { class: "overlay-note", role: "status", "data-testid": "overlay-note" });
    view.on("data bundle settled frame mixture picture", () => this.follow());
    this.follow();
  }

  // What belongs to the picture, the merge and the choice of now; null where there is no choice, or no merge.
  get key() {
    const { errors } = this.view.data;
    const bundle = this.loader.shown;
    if (!errors?.pixels || !bundle || bundle.m?.mixture !== this.view.mixture.wish()?.mixture) return null;
    return `${bundle.base}/${bundle.index}/${errors.against}/${errors.pixels}/${bundle.m.mixture}`;
  }

  get found() {
    return this.kept.get(this.key) ?? null;
  }

  follow() {
    if (!this.view.data.errors && this.note.hidden) return; // every other page
    const key = this.key;
    if (key && !this.view.moving && !this.kept.has(key) && this.asked !== key) this.ask(key);
    this.show();
  }

  async ask(key) {
    this.asked = key;
    this.flight?.abort();
    this.flight = new AbortController();
    const answer = await this.fetch(this.flight.signal).catch((error) => (this.flight?.signal.aborted ? null : { words: error.message }));
    if (this.asked === key) this.asked = null;
    if (!answer || this.disposed) return;
    this.kept.set(key, answer);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    this.show();
  }

  async fetch(signal) {
    const { errors } = this.view.data;
    const { base, index } = this.loader.shown;
    const { query, body } = this.view.mixture.wish();
    const chosen = `against=${encodeURIComponent(errors.against)}&pixels=${encodeURIComponent(errors.pixels)}`;
    const options = body ? { method: "POST", body, headers: { "Content-Type": "application/json" } } : {};
    const response = await request(`${base}/pixels/${index}?${query}${chosen}`, { ...options, signal });
    if (response.status === 204) return { words: "this merge is not looked into yet" };
    const map = await decodeLabelMap(await response.blob());
    const { out, count } = outlineOf(map);
    return { canvas: count ? canvasOf(out, map) : null, words: count ? `${plural(count, "pixel")} outlined` : "no such pixel in this picture" };
  }

  show() {
    const { errors } = this.view.data;
    const { found } = this;
    this.note.hidden = !errors;
    setText(this.note, errors?.pixels ? `${errors.words}: ${found?.words ?? "looking"}` : "");
    setAttribute(this.note, "data-state", errors?.pixels ? (found ? "there" : "waits") : null);
    if (found === this.drawn) return; // a frame draws itself
    this.drawn = found;
    this.redraw();
  }

  // Over a pane's picture and mask, in the pane's own zoom.
  draw(/** @type {CanvasRenderingContext2D} */ context, x, y, width, height) {
    const canvas = this.drawn?.canvas;
    if (!canvas) return;
    context.globalAlpha = 1;
    context.imageSmoothingEnabled = false;
    context.drawImage(canvas, x, y, width, height);
  }

  dispose() {
    this.disposed = true;
    this.flight?.abort();
  }
}

function canvasOf(out, { width, height }) {
  const canvas = el("canvas", { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  new Uint32Array(image.data.buffer).set(out);
  context.putImageData(image, 0, 0);
  return canvas;
}
