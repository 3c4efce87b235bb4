// The state of the Layers page: one weight of A for every unit, in steps that can be undone.
//
// A gesture is one step: from `hold` to `release`, whatever happens in between. Python hears of it at the release.

import { alphaText, clamp } from "../viewer/dom.js";
import { Trouble, request } from "../viewer/frames.js";
import { View } from "../viewer/state.js";

const STEPS_KEPT = 200;
const BURST_MS = 250;
const DIGITS = 1e4; // as the server rounds, so that what is seen is what is exported

export const LEVELS = ["tensor", "module", "block", "part"];

export const fourDigits = (weight) => Math.round(clamp(weight, 0, 1) * DIGITS) / DIGITS;

// How much a neighbour follows: 1 for the unit itself, down to 0 just outside the radius, without a kink.
export const falloff = (distance, radius) => (distance > radius ? 0 : (1 + Math.cos((Math.PI * distance) / (radius + 1))) / 2);

export class LayersView extends View {
  constructor(data, send) {
    super(data, send);
    this.pending.profile = [];
    this.units = null; // levels, names, sizes and preset curves; comes after the page
    this.level = "block";
    this.anchor = 0;
    this.weights = [];
    this.locked = new Set();
    this.past = [];
    this.future = [];
    this.measuredFigures = new Map();
    this.fetchUnits();
  }

  // One number for a whole profile: the mean over all elements.
  get alpha() {
    if (!this.units) return this.data?.alpha ?? 0.5;
    const { size } = this.current;
    const total = size.reduce((sum, one) => sum + one, 0) || 1;
    return this.weights.reduce((sum, weight, place) => sum + weight * size[place], 0) / total;
  }

  set alpha(value) {
    this.began = value; // the parent's constructor writes it
  }

  get current() {
    return this.units.levels[this.level];
  }

  get profile() {
    return JSON.stringify({ level: this.level, anchor: this.anchor, weights: this.weights, locked: [...this.locked].sort((a, b) => a - b) });
  }

  get profileKey() {
    return `${this.level} ${this.anchor} ${this.weights.join(" ")}`;
  }

  get body() {
    return JSON.stringify({ level: this.level, anchor: this.anchor, weights: this.weights });
  }

  // The weight of A where the anchor is alone.
  get anchorWeight() {
    return this.anchor === 0 ? 1 : 0;
  }

  wish() {
    if (!this.units) return null;
    return { key: this.profileKey, mixture: this.profileKey, label: `Merge, mean ${this.alpha.toFixed(2)}`, query: "", body: this.body };
  }

  async fetchUnits() {
    const { base } = this.data;
    if (!base) return;
    try {
      const units = await (await request(`${base}/layers`)).json();
      if (base !== this.data.base) return;
      this.units = units;
      this.restoreProfile(this.weights.length ? this.profile : this.data.profile);
      this.emit("units");
      this.emit("mixture");
    } catch (error) {
      if (error instanceof Trouble) this.emit("trouble", error);
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
    if (!count || kept.weights?.length !== count) kept = { level: "block", anchor: 0, weights: this.units.levels.block.names.map(() => 0.5), locked: [] };
    this.take(kept);
  }

  take({ level, anchor, weights, locked }) {
    this.level = level;
    this.anchor = anchor === 1 ? 1 : 0;
    this.weights = weights.map(fourDigits);
    this.locked = new Set(locked);
  }

  update(data) {
    const before = this.data;
    const other = before.base !== data.base;
    if (other) this.units = null; // these weights may not fit the new checkpoints: nothing is asked before their units are here
    super.update(data);
    if (other) {
      this.measuredFigures.clear();
      this.fetchUnits();
    }
    if (this.units && this.adopts("profile", before, data) && !this.moving && data.profile) this.jump(data.profile);
  }

  // --- changing ---

  hold() {
    super.hold();
    this.before ??= this.profile;
  }

  release() {
    this.moving = false;
    clearTimeout(this.settling);
    if (this.before && this.before !== this.profile) {
      this.past = [...this.past.slice(1 - STEPS_KEPT), this.before];
      this.future = [];
    }
    this.before = null;
    this.report("profile", this.profile);
    this.emit("history");
    this.emit("settled");
  }

  // Keys come in bursts: one step and one report, after the last.
  burst(change) {
    this.hold();
    change();
    this.settling = setTimeout(() => this.release(), BURST_MS);
  }

  step(change) {
    if (!this.units) return;
    this.hold();
    change();
    this.emit("mixture");
    this.release();
  }

  // Units around `place` follow by the falloff, from where they were when the pointer came to it. Locked ones stay.
  bend(place, value, radius, from = this.weights) {
    const weights = [...this.weights];
    const change = value - from[place];
    for (let one = Math.max(0, place - radius); one <= Math.min(weights.length - 1, place + radius); one++) {
      if (!this.locked.has(one)) weights[one] = fourDigits(from[one] + change * falloff(Math.abs(one - place), radius));
    }
    this.setWeights(weights);
  }

  setWeights(weights) {
    if (weights.every((weight, place) => weight === this.weights[place])) return;
    this.weights = weights;
    this.emit("mixture");
  }

  // The interpolation curve's way: the same weight everywhere.
  setAlpha(alpha, exact = false) {
    if (!this.units) return;
    const value = fourDigits(exact ? alpha : this.snap(alpha));
    this.setWeights(this.weights.map((weight, place) => (this.locked.has(place) ? weight : value)));
  }

  lock(place) {
    this.step(() => {
      if (this.locked.delete(place)) return;
      this.locked.add(place);
      this.weights = this.weights.map((weight, one) => (one === place ? this.anchorWeight : weight));
    });
  }

  setAnchor(anchor) {
    if (anchor === this.anchor || !this.units) return;
    this.step(() => {
      this.anchor = anchor;
      this.weights = this.weights.map((weight, place) => (this.locked.has(place) ? this.anchorWeight : weight));
    });
    this.emit("units");
  }

  // The finer level repeats a weight; the coarser one takes the mean over its elements.
  setLevel(level) {
    if (level === this.level || !this.units) return;
    this.step(() => {
      const { of } = this.current;
      const next = this.units.levels[level];
      const sums = next.names.map(() => 0);
      of.forEach((unit, tensor) => (sums[next.of[tensor]] += this.weights[unit] * this.units.sizes[tensor]));
      const allLocked = next.names.map(() => true);
      of.forEach((unit, tensor) => (allLocked[next.of[tensor]] &&= this.locked.has(unit)));
      this.weights = sums.map((sum, place) => fourDigits(sum / (next.size[place] || 1)));
      this.locked = new Set(allLocked.flatMap((yes, place) => (yes ? [place] : [])));
      this.level = level;
    });
    this.emit("units");
  }

  // A curve of the anchor's weight; locked units stay.
  preset(name) {
    const curve = this.units && this.current.presets[name];
    if (!curve) return;
    const ofA = this.anchor === 0 ? curve : curve.map((weight) => 1 - weight);
    this.step(() => (this.weights = ofA.map((weight, place) => (this.locked.has(place) ? this.weights[place] : fourDigits(weight)))));
  }

  load(preset) {
    this.step(() => this.take({ ...preset, locked: [] }));
    this.emit("units");
  }

  jump(text) {
    const { level } = this;
    this.take(JSON.parse(text));
    if (this.level !== level) this.emit("units");
    this.emit("mixture");
  }

  undo() {
    this.travel(this.past, this.future);
  }

  redo() {
    this.travel(this.future, this.past);
  }

  travel(from, to) {
    if (!from.length || this.moving) return;
    to.push(this.profile);
    this.jump(from.pop());
    this.emit("units");
    this.release();
  }

  // --- what is measured ---

  measured() {
    const figures = this.measuredFigures.get(this.profileKey)?.figures;
    return figures ? { point: figures, where: "this profile" } : null;
  }

  rivals(metric) {
    const best = this.sweep?.best(metric);
    const ends = super.rivals(metric);
    return best ? [{ name: `best uniform (${alphaText(best.alpha)})`, value: best.value, tone: "name-best" }, ...ends] : ends;
  }

  // Profiles that have been measured, for the curve: where their mean lies, and what they gave.
  extras() {
    return [...this.measuredFigures.values()].filter((one) => one.figures);
  }

  get curveLead() {
    return "all layers at";
  }

  get curveHint() {
    return "The curve is the same weight for every layer; diamonds are layer profiles at their mean weight. Click or drag sets all layers.";
  }
}
