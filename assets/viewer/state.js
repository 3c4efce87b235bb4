// @ts-check
// What the viewer shows, and who wants to know when it changes.
//
// The mixture, the picture and the look go to Python when the user has settled on them, and from there into the link; what Python
// sends back is either the echo of that, or somebody's Back, Forward or link, which is followed.

import { clamp, known } from "./dom.js";
import { lensOf } from "./lenses.js";
import { wishTogether } from "./learners.js";
import { DEFAULTS, readLook, writeLook } from "./look.js";
import { coloured } from "./palettes.js";
import { LETTERS, PANES } from "./pane-registry.js";
import { METRICS } from "./sweep.js";

const SETTLE_MS = 250;
const LOOK_MS = 600; // a zoom or a wipe is one step of the history, not twenty

export class View {
  // `mixtureOf(view)` makes what is merged: see Mixture in alpha.js.
  constructor(data, send, mixtureOf) {
    this.listeners = new Map();
    this.data = data;
    this.send = send;
    this.index = data.index;
    this.name = data.name;
    this.moving = false; // a drag, a key burst or the play button is under way
    this.pending = { alpha: [], index: [], parameters: [], profile: [], look: [] }; // sent to Python, not yet seen coming back
    this.reported = {}; // the last value of each that Python's component state holds
    this.pointer = null; // {u, v} in picture coordinates 0..1
    /** @type {HTMLElement | null} */
    this.pointed = null; // in which pane the pointer is, or was
    this.other = 1; // which checkpoint the pane beside the merge shows: B, where there are only two
    this.swapped = false; // the compare key is held down
    /** @type {import("./sweep.js").Sweep | null} */
    this.sweep = null;
    this.framed = () => true; // whether the merge that is shown is the one that is set: the loader knows
    /** @type {Record<string, any> | null} */
    this.timing = null;
    this.settings = readLook(data.look);
    this.mixture = mixtureOf(this);
  }

  on(type, listener) {
    for (const one of type.split(" ")) this.listeners.set(one, [...(this.listeners.get(one) ?? []), listener]);
  }

  emit(type, detail) {
    for (const listener of this.listeners.get(type) ?? []) listener(detail);
  }

  // --- the look ---

  get look() {
    return writeLook(this.settings);
  }

  change(patch) {
    this.adjust(patch, "settings");
  }

  // Zoom and divider move often and need no new colours: they have an event of their own.
  adjust(patch, event = "zoom") {
    Object.assign(this.settings, patch);
    this.emit(event);
    clearTimeout(this.looking);
    this.looking = setTimeout(() => this.report("look", this.look), LOOK_MS);
  }

  resetLook() {
    this.change(structuredClone(DEFAULTS));
    this.emit("zoom");
  }

  takeLook(text) {
    clearTimeout(this.looking);
    this.settings = readLook(text);
    this.emit("settings");
    this.emit("zoom");
  }

  // --- the mixture ---

  get alpha() {
    return this.mixture.alpha;
  }

  setAlpha(alpha, exact = false) {
    this.mixture.setAlpha(alpha, exact);
  }

  snap(alpha) {
    const step = this.data.step || 0.01;
    return clamp(Number((Math.round(alpha / step) * step).toFixed(3)), 0, 1);
  }

  wish() {
    return wishTogether(this, this.mixture.wish());
  }

  measured() {
    return this.mixture.measured();
  }

  get members() {
    return [this.data.a, this.data.b, ...(this.data.more ?? [])];
  }

  // The letter of the checkpoint that a pane shows.
  letterOf(pane) {
    return pane === "b" ? LETTERS[this.other] : pane;
  }

  memberOf(pane) {
    return this.members[LETTERS.indexOf(this.letterOf(pane))];
  }

  // Besides A, whose own score the curve shows: B, or the best one of several.
  otherEnd(metric) {
    const { better } = METRICS[metric];
    let best = "b";
    for (const letter of LETTERS.slice(2, this.members.length)) {
      const [value, least] = [this.sweep.end(letter, metric), this.sweep.end(best, metric)];
      if (known(value) && !(better * (value - least) <= 0)) best = letter;
    }
    return best;
  }

  setOther(place) {
    if (place === this.other) return;
    this.other = place;
    this.emit("other");
  }

  // During a drag nothing goes to Python.
  hold() {
    this.moving = true;
    clearTimeout(this.settling);
    this.mixture.held();
  }

  release() {
    this.moving = false;
    clearTimeout(this.settling);
    this.mixture.released();
    this.report(this.mixture.field, this.mixture.value);
    this.emit("settled");
  }

  // Keys arrive in bursts: one report, after the last.
  burst(change) {
    this.hold();
    change();
    this.settling = setTimeout(() => this.release(), SETTLE_MS);
  }

  nudge(alpha, exact = false) {
    this.burst(() => this.setAlpha(alpha, exact));
  }

  // --- the picture ---

  setIndex(index) {
    const next = clamp(index, 0, Math.max(0, this.data.count - 1));
    if (next === this.index) return;
    this.index = next;
    this.name = this.data.names?.[next] ?? this.name;
    this.emit("picture");
    clearTimeout(this.stepping);
    this.stepping = setTimeout(() => this.report("index", this.index), SETTLE_MS);
  }

  // --- Python ---

  report(field, value) {
    const last = this.pending[field].at(-1) ?? this.data[field];
    if (last === value) return;
    this.pending[field].push(value);
    this.reported[field] = value;
    this.send(field, value);
  }

  // Data from a rerun. A value that we sent ourselves is an echo and must not pull the slider back under the hand.
  update(data) {
    const before = this.data;
    this.data = data;
    if (this.other >= this.members.length) this.other = 1;
    this.mixture.update(before, data);
    if (this.adopts("index", before, data, this.index)) {
      this.index = data.index;
      this.name = data.name;
      this.emit("picture");
    }
    if (this.adopts("look", before, data, this.look)) this.takeLook(data.look);
    this.emit("data", before);
  }

  // Whether Python has set a field to something else than the present `value`.
  adopts(field, before, data, value) {
    const echo = this.pending[field].indexOf(data[field]);
    if (echo >= 0) {
      this.pending[field].splice(0, echo + 1);
      return false;
    }
    if (data[field] === before[field]) return false; // this rerun has not heard of us yet
    this.pending[field] = [];
    this.acknowledge(field, data[field]);
    return data[field] !== value;
  }

  // Python moved the value. Component state would still hold our last report, and reporting that same value again
  // later would then not count as a change: so say that we follow.
  acknowledge(field, value) {
    if (this.reported[field] === undefined || this.reported[field] === value) return;
    this.reported[field] = value;
    this.send(field, value);
  }

  // --- panes and classes ---

  fullName(pane) {
    return PANES.get(pane).title(this);
  }

  get hasTruth() {
    return this.data.labelled;
  }

  // The panes that there are, in their order.
  panes() {
    return [...PANES.values()].filter((kind) => kind.offered?.(this) ?? true).map(({ id }) => id);
  }

  shows(pane) {
    return this.settings.shown.includes(pane);
  }

  // Whether a pane is looked at: in the grid, on the stage, as what is compared with, or by another that is made of it.
  uses(pane) {
    const { layout, left, lens, right, reference, shown } = this.settings;
    const looked = layout === "grid" ? shown : [left, right];
    const compared = lensOf(lens).needs.includes("reference") ? [reference] : [];
    return [...looked, ...compared].some((id) => id === pane || PANES.get(id)?.needs?.includes(pane));
  }

  // The classes in the colours of the palette that is chosen.
  get classes() {
    const { classes } = this.data;
    const { palette } = this.settings;
    if (this.classesFor?.classes !== classes || this.classesFor.palette !== palette) {
      this.classesFor = { classes, palette, drawn: coloured(classes, palette) };
      this.byId = new Map(this.classesFor.drawn.map((entry) => [entry.id, entry]));
    }
    return this.classesFor.drawn;
  }

  classOf(id) {
    return this.classes && (this.byId.get(id) ?? null);
  }

  toggleClass(id, solo) {
    const ids = this.data.classes.map((entry) => entry.id);
    const hidden = new Set(this.settings.hidden);
    const alone = hidden.size === ids.length - 1 && !hidden.has(id);
    if (solo) this.change({ hidden: alone ? [] : ids.filter((other) => other !== id) });
    else if (hidden.delete(id) || hidden.add(id)) this.change({ hidden: [...hidden].sort((one, two) => one - two) });
  }

  dispose() {
    for (const timer of [this.settling, this.stepping, this.looking]) clearTimeout(timer);
  }
}
