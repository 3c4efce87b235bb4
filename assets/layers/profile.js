// @ts-check
// The state of a mixture layer by layer: for every unit a row of weights, one for each checkpoint, in steps that can be undone.
//
// Rows lie on the simplex: no weight is negative, and they sum to 1. The hand moves the weight of ONE checkpoint, the brush; the others
// of the row share the rest as they did before.
//
// A gesture is one step: from `hold` to `release`, whatever happens in between. Python hears of it at the release.

import { alphaText, clamp, known } from "../viewer/dom.js";
import { Trouble, request } from "../viewer/frames.js";
import { ends } from "../viewer/alpha.js";
import { METRICS } from "../viewer/sweep.js";

const STEPS_KEPT = 200;
const DIGITS = 1e4; // as the server rounds, so that what is seen is what is exported

// A row in steps of 1e-4 that sums to exactly `whole`: each running sum is rounded, so that no weight is off by more than a step.
function shareOut(parts, whole) {
  const sum = parts.reduce((total, part) => total + part, 0);
  let [before, along] = [0, 0];
  return parts.map((part) => {
    along += part;
    const next = Math.round((along / sum) * whole);
    const share = (next - before) / DIGITS;
    before = next;
    return share;
  });
}

export const onSimplex = (row) => shareOut(row.some((weight) => weight > 0) ? row : row.map(() => 1), DIGITS);

export const alone = (count, place) => Array.from({ length: count }, (_, one) => (one === place ? 1 : 0));

// `row` with `value` in one place; the others keep their proportions, or are equal where they had nothing.
export function withShare(row, place, value) {
  const share = fourDigits(value);
  const others = row.map((weight, one) => (one === place ? 0 : weight));
  const nothing = others.every((weight) => weight === 0);
  const rest = shareOut(nothing ? others.map((_, one) => (one === place ? 0 : 1)) : others, Math.round((1 - share) * DIGITS));
  return rest.map((weight, one) => (one === place ? share : weight));
}

const sameRow = (one, other) => one.every((weight, place) => weight === other[place]);

export const fourDigits = (weight) => Math.round(clamp(weight, 0, 1) * DIGITS) / DIGITS;

// How much a neighbour follows: 1 for the unit itself, down to 0 just outside the radius, without a kink.
export const falloff = (distance, radius) => (distance > radius ? 0 : (1 + Math.cos((Math.PI * distance) / (radius + 1))) / 2);

// How far a profile is moved up and down for a curve of its own.
const SHIFTS = [0, -0.5, -0.4, -0.3, -0.2, -0.1, 0.1, 0.2, 0.3, 0.4, 0.5];

const nameOf = (level, anchor, weights) => `${level} ${anchor} ${weights.map((row) => row.join(" ")).join(" ")}`;

export class Profile {
  constructor(/** @type {import("../viewer/state.js").View} */ view) {
    this.view = view;
    this.field = /** @type {const} */ ("profile");
    this.onCurve = true;
    this.lead = "all layers at";
    this.units = null; // levels, those offered, names, sizes and preset curves; comes after the page
    this.level = "block";
    this.anchor = 0;
    this.weights = [];
    this.brush = 0;
    this.locked = new Set();
    this.past = [];
    this.future = [];
    this.measuredFigures = new Map();
    this.fetchUnits();
  }

  // One number for a whole profile: the mean weight of A over all elements.
  get alpha() {
    return this.units ? this.mean(0) : (this.view.data.alpha ?? 0.5);
  }

  mean(member, weights = this.weights) {
    const { size } = this.current;
    const total = size.reduce((sum, one) => sum + one, 0) || 1;
    return weights.reduce((sum, row, place) => sum + row[member] * size[place], 0) / total;
  }

  get uniform() {
    return this.weights.every((row) => sameRow(row, this.weights[0]));
  }

  // The same shape with more and with less of A: what a curve of this profile is measured at. Locked units stay.
  shifted() {
    const moved = (row, place, shift) => (this.locked.has(place) ? row : withShare(row, 0, row[0] + shift));
    const all = SHIFTS.map((shift) => this.weights.map((row, place) => (shift ? moved(row, place, shift) : row)));
    return new Map(all.map((weights) => [nameOf(this.level, this.anchor, weights), { weights, mean: this.mean(0, weights) }]));
  }

  get count() {
    return this.view.members.length;
  }

  // The weight that the hand moves, and that a bar shows from its left end.
  share(place) {
    return this.weights[place][this.brush];
  }

  setBrush(member) {
    this.brush = member;
    this.view.setOther(member === 0 ? 1 : member); // what is mixed in is seen beside the merge
    this.view.emit("mixture");
  }

  get current() {
    return this.units.levels[this.level];
  }

  get value() {
    return JSON.stringify({ level: this.level, anchor: this.anchor, weights: this.weights, locked: [...this.locked].sort((a, b) => a - b) });
  }

  get profileKey() {
    return nameOf(this.level, this.anchor, this.weights);
  }

  get body() {
    return JSON.stringify({ level: this.level, anchor: this.anchor, weights: this.weights });
  }

  get anchorRow() {
    return alone(this.count, this.anchor);
  }

  wish() {
    if (!this.units) return null;
    return { key: this.profileKey, mixture: this.profileKey, label: this.count > 2 ? "Merge" : `Merge, mean ${this.alpha.toFixed(2)}`, query: "", body: this.body };
  }

  async fetchUnits() {
    const { view } = this;
    const { base } = view.data;
    if (!base) return;
    try {
      const units = await (await request(`${base}/layers`)).json();
      if (base !== view.data.base) return;
      this.units = units;
      this.restoreProfile(this.weights.length ? this.value : (view.data.profile ?? this.remembered()));
      if (view.data.profile !== this.value) view.report("profile", this.value);
      view.emit("units");
      view.emit("mixture");
    } catch (error) {
      if (error instanceof Trouble) view.emit("trouble", error);
    }
  }

  // A reload loses what Python knows of the session, and a fine profile is too long for a link: the tab remembers it, for these checkpoints.
  get memoryKey() {
    const { base, key } = this.view.data;
    return `fusion-viewer/${key}/profile/${base.split("/").at(-1)}`;
  }

  remembered() {
    try {
      return sessionStorage.getItem(this.memoryKey);
    } catch {
      return null;
    }
  }

  remember() {
    try {
      sessionStorage.setItem(this.memoryKey, this.value);
    } catch {
      // without storage a profile lasts as long as the page
    }
  }

  // Whatever an earlier page left is taken if it fits these checkpoints.
  restoreProfile(text) {
    let kept = null;
    try {
      kept = JSON.parse(text);
    } catch {
      kept = null;
    }
    const count = this.units.levels[kept?.level]?.names.length;
    const fits = count && kept.weights?.length === count && kept.weights.every(Array.isArray);
    if (!fits) [this.past, this.future] = [[], []]; // steps of another network lead nowhere
    this.take(fits ? kept : this.equal);
  }

  // A row of fewer checkpoints gives the new ones nothing; one of more loses those that are gone.
  take({ level, anchor, weights, locked }) {
    this.level = level;
    this.anchor = anchor < this.count ? anchor : 0;
    this.weights = weights.map((row) => onSimplex(Array.from({ length: this.count }, (_, one) => row[one] ?? 0)));
    this.locked = new Set(locked);
    if (this.brush >= this.count) this.setBrush(0);
  }

  update(before, data) {
    const { view } = this;
    if (before.base !== data.base) {
      this.units = null; // these weights may not fit the new checkpoints: nothing is asked before their units are here
      this.measuredFigures.clear();
      this.fetchUnits();
    }
    if (this.units && view.adopts("profile", before, data, this.value) && !view.moving) this.follow(data.profile);
  }

  // Where Python has none any more, a step of the history has led to equal weights; what was drawn can be undone into.
  follow(text) {
    if (text) return this.jump(text);
    [this.past, this.future] = [[...this.past.slice(1 - STEPS_KEPT), this.value], []];
    this.take(this.equal);
    this.remember();
    this.view.emit("units");
    this.view.emit("history");
    return this.view.emit("mixture");
  }

  get equal() {
    return { level: "block", anchor: 0, weights: this.units.levels.block.names.map(() => alone(this.count, -1)), locked: [] };
  }

  // --- changing ---

  held() {
    this.before ??= this.value;
  }

  released() {
    if (this.before && this.before !== this.value) {
      this.past = [...this.past.slice(1 - STEPS_KEPT), this.before];
      this.future = [];
    }
    this.before = null;
    this.remember();
    this.view.emit("history");
  }

  step(change) {
    if (!this.units) return;
    this.view.hold();
    change();
    this.view.emit("mixture");
    this.view.release();
  }

  // Units around `place` follow by the falloff, from where they were when the pointer came to it. Locked ones stay.
  bend(place, value, radius, from = this.weights) {
    const weights = [...this.weights];
    const change = value - from[place][this.brush];
    for (let one = Math.max(0, place - radius); one <= Math.min(weights.length - 1, place + radius); one++) {
      if (!this.locked.has(one)) weights[one] = withShare(from[one], this.brush, from[one][this.brush] + change * falloff(Math.abs(one - place), radius));
    }
    this.setWeights(weights);
  }

  setWeights(weights) {
    if (weights.every((row, place) => sameRow(row, this.weights[place]))) return;
    this.weights = weights;
    this.view.emit("mixture");
  }

  // The interpolation curve's way: everywhere the same weight of A, the others share the rest equally.
  setAlpha(alpha, exact = false) {
    if (!this.units) return;
    const row = withShare(alone(this.count, 0), 0, exact ? alpha : this.view.snap(alpha));
    this.setWeights(this.weights.map((old, place) => (this.locked.has(place) ? old : row)));
  }

  // Everywhere the same weight of the brush.
  setAll(value) {
    this.setWeights(this.weights.map((row, place) => (this.locked.has(place) ? row : withShare(row, this.brush, value))));
  }

  lock(place) {
    this.step(() => {
      if (this.locked.delete(place)) return;
      this.locked.add(place);
      this.weights = this.weights.map((row, one) => (one === place ? this.anchorRow : row));
    });
  }

  setAnchor(anchor) {
    if (anchor === this.anchor || !this.units) return;
    this.step(() => {
      this.anchor = anchor;
      this.weights = this.weights.map((row, place) => (this.locked.has(place) ? this.anchorRow : row));
    });
    this.view.emit("units");
  }

  // The finer level repeats a weight; the coarser one takes the mean over its elements.
  setLevel(level) {
    if (level === this.level || !this.units) return;
    this.step(() => {
      const { of } = this.current;
      const next = this.units.levels[level];
      const sums = next.names.map(() => alone(this.count, -1));
      of.forEach((unit, tensor) => this.weights[unit].forEach((weight, member) => (sums[next.of[tensor]][member] += weight * this.units.sizes[tensor])));
      const allLocked = next.names.map(() => true);
      of.forEach((unit, tensor) => (allLocked[next.of[tensor]] &&= this.locked.has(unit)));
      this.weights = sums.map(onSimplex);
      this.locked = new Set(allLocked.flatMap((yes, place) => (yes ? [place] : [])));
      this.level = level;
    });
    this.view.emit("units");
  }

  // A curve of the anchor's weight, the others share the rest; locked units stay.
  preset(name) {
    const curve = this.units && this.current.presets[name];
    if (!curve) return;
    const row = (weight) => withShare(alone(this.count, this.anchor), this.anchor, weight);
    this.step(() => (this.weights = curve.map((weight, place) => (this.locked.has(place) ? this.weights[place] : row(weight)))));
  }

  load(preset) {
    this.step(() => this.take({ ...preset, locked: [] }));
    this.view.emit("units");
  }

  jump(text) {
    const { level } = this;
    this.take(JSON.parse(text));
    if (this.level !== level) this.view.emit("units");
    this.view.emit("mixture");
  }

  undo() {
    this.travel(this.past, this.future);
  }

  redo() {
    this.travel(this.future, this.past);
  }

  travel(from, to) {
    if (!from.length || this.view.moving) return;
    to.push(this.value);
    this.jump(from.pop());
    this.view.emit("units");
    this.view.release();
  }

  // --- what is measured ---

  measured() {
    const figures = this.measuredFigures.get(this.profileKey)?.figures;
    return figures ? { point: figures, where: "this profile" } : null;
  }

  rivals(metric) {
    const best = this.view.sweep?.best(metric);
    const least = this.ranked(ends(this.view, metric), metric);
    return best ? [{ name: `best uniform (${alphaText(best.alpha)})`, value: best.value, tone: "name-best" }, ...least] : least;
  }

  // Of many checkpoints the two best are rival enough.
  ranked(rivals, metric) {
    const { better } = METRICS[metric];
    const least = (value) => (known(value) ? better * value : -Infinity);
    return rivals.length > 2 ? [...rivals].sort((one, other) => least(other.value) - least(one.value)).slice(0, 2) : rivals;
  }

  // Profiles that have been measured, for the curve: where their mean lies, and what they gave.
  curveOf(key) {
    return this.extras().filter((one) => one.of === key);
  }

  extras() {
    return [...this.measuredFigures].map(([key, one]) => ({ key, ...one })).filter((one) => one.figures);
  }

  get hint() {
    const others = this.count > 2 ? " A's, the others share the rest equally;" : "";
    return `The curve is the same weight for every layer;${others} diamonds are layer profiles at their mean weight of A. A dashed line is a profile moved up and down: where it lies above the curve, the layers earn their weights. Click or drag sets all layers.`;
  }
}
