// @ts-check
// The mixture of two: alpha of A, the rest of B. It is where all mixtures say what the rest of the viewer asks of one.

import { alphaKey, alphaText, clamp } from "./dom.js";
import { wishAlpha } from "./frames.js";
import { LETTERS } from "./pane-registry.js";

/**
 * @typedef {object} Mixture what is merged, and how; a view has one
 * @property {"alpha" | "parameters" | "profile"} field what Python is told at the release
 * @property {number | string} value and what it is told
 * @property {number} alpha one number for the whole: where it stands on the curve
 * @property {boolean} onCurve whether the interpolation curve is about it
 * @property {string} lead @property {string} hint words of the curve
 * @property {() => any} wish what frames are asked of; null where none can be asked
 * @property {() => {point: any, where: string} | null} measured the figures of the whole split, and where they stand
 * @property {(metric: string) => Array<{name: string, value: number | null, tone: string}>} rivals what a figure is held against
 * @property {() => any[]} extras further merges that have been measured, for the curve
 * @property {(alpha: number, exact?: boolean) => void} setAlpha
 * @property {(before: any, data: any) => void} update data of a rerun
 * @property {() => void} held a gesture begins @property {() => void} released and ends
 */

// Every checkpoint by itself.
export const ends = (view, metric) =>
  view.members.map((_, place) => {
    const letter = LETTERS[place];
    return { name: letter.toUpperCase(), value: view.sweep?.end(letter, metric), tone: `name-${letter}` };
  });

export class AlphaMixture {
  constructor(/** @type {import("./state.js").View} */ view) {
    this.view = view;
    this.field = /** @type {const} */ ("alpha");
    this.onCurve = true;
    this.lead = "alpha";
    this.hint = "Click or drag to move alpha.";
    this.alpha = clamp(view.data.alpha, 0, 1);
  }

  get value() {
    return this.alpha;
  }

  wish() {
    return wishAlpha(this.alpha);
  }

  measured() {
    const { sweep } = this.view;
    const point = sweep?.measuredAt(this.alpha);
    if (point) return { point, where: `at ${alphaText(point.alpha)}` };
    const between = sweep?.between(this.alpha);
    return between ? { point: between, where: "interpolated" } : null;
  }

  rivals(metric) {
    return ends(this.view, metric);
  }

  extras() {
    return [];
  }

  setAlpha(alpha, exact = false) {
    const next = exact ? clamp(Number(alphaKey(alpha)), 0, 1) : this.view.snap(alpha);
    if (next === this.alpha) return;
    this.alpha = next;
    this.view.emit("mixture");
  }

  update(before, data) {
    if (this.view.adopts("alpha", before, data, this.alpha) && !this.view.moving) this.setAlpha(data.alpha, true);
  }

  held() {}

  released() {}
}
