// What the viewer shows, and who wants to know when it changes.
//
// alpha and the picture's index go to Python when the user has settled on them. Everything in `settings` belongs to
// the browser: it outlives Streamlit reruns (this object stays) and page changes (sessionStorage).

import { alphaKey, alphaText, clamp, known } from "./dom.js";
import { wishAlpha } from "./frames.js";
import { METRICS } from "./sweep.js";

export const PANES = ["a", "m", "b", "t"];
export const LETTERS = "abcdefgh"; // checkpoints by their place, as the server calls them
const SETTLE_MS = 250;

const DEFAULTS = {
  mode: "mask", // mask | outline | confidence | errors | disagreement
  masks: true,
  opacity: 0.65,
  borders: false,
  hidden: [],
  visible: { a: true, m: true, b: true, t: true },
  large: false,
  layout: "grid", // grid | wipe | blink
  left: "a",
  right: "m",
  split: 0.5,
  reference: "a",
  zoom: { scale: 1, x: 0, y: 0 },
  metric: null,
  step: 0.05,
  scope: null, // whose IoU the legend shows: split | picture
};

export class View {
  constructor(data, send) {
    this.listeners = new Map();
    this.data = data;
    this.send = send;
    this.alpha = clamp(data.alpha, 0, 1);
    this.index = data.index;
    this.name = data.name;
    this.moving = false; // a drag, a key burst or the play button is under way
    this.mixture = null; // a registered method in the place of alpha
    this.pending = { alpha: [], index: [], parameters: [] }; // sent to Python, not yet seen coming back
    this.reported = {}; // the last value of each that Python's component state holds
    this.pointer = null; // {u, v} in picture coordinates 0..1
    this.other = 1; // which checkpoint the pane beside the merge shows: B, where there are only two
    this.swapped = false; // the compare key is held down
    this.sweep = null;
    this.timing = null;
    this.settings = { ...structuredClone(DEFAULTS), ...this.restore() };
  }

  on(type, listener) {
    for (const one of type.split(" ")) this.listeners.set(one, [...(this.listeners.get(one) ?? []), listener]);
  }

  emit(type, detail) {
    for (const listener of this.listeners.get(type) ?? []) listener(detail);
  }

  get storageKey() {
    return `fusion-viewer/${this.data.key}`;
  }

  restore() {
    try {
      return JSON.parse(sessionStorage.getItem(this.storageKey)) ?? {};
    } catch {
      return {}; // storage may be forbidden or hold an older format; the defaults are fine
    }
  }

  change(patch) {
    this.adjust(patch, "settings");
  }

  // Zoom and divider move often and need no new colours: they have an event of their own.
  adjust(patch, event = "zoom") {
    Object.assign(this.settings, patch);
    this.emit(event);
    clearTimeout(this.saving);
    this.saving = setTimeout(() => this.save(), 200);
  }

  save() {
    try {
      sessionStorage.setItem(this.storageKey, JSON.stringify(this.settings));
    } catch {
      // without storage the settings last as long as the page
    }
  }

  snap(alpha) {
    const step = this.data.step || 0.01;
    return clamp(Number((Math.round(alpha / step) * step).toFixed(3)), 0, 1);
  }

  setAlpha(alpha, exact = false) {
    const next = exact ? clamp(Number(alphaKey(alpha)), 0, 1) : this.snap(alpha);
    if (next === this.alpha) return;
    this.alpha = next;
    this.emit("mixture");
  }

  // The mixture that the frames are asked of.
  wish() {
    return this.mixture ? this.mixture.wish() : wishAlpha(this.alpha);
  }

  // The measured point that the headline shows, and in words where it stands; null where nothing is measured.
  measured() {
    if (this.mixture) return this.mixture.measured();
    const point = this.sweep?.measuredAt(this.alpha);
    if (point) return { point, where: `at ${alphaText(point.alpha)}` };
    const between = this.sweep?.between(this.alpha);
    return between ? { point: between, where: "interpolated" } : null;
  }

  // What a measured figure is compared with: [name, its own figure, class].
  rivals(metric) {
    return this.members.map((_, place) => {
      const letter = LETTERS[place];
      return { name: letter.toUpperCase(), value: this.sweep?.end(letter, metric), tone: `name-${letter}` };
    });
  }

  get members() {
    return [this.data.a, this.data.b, ...(this.data.more ?? [])];
  }

  // The letter of the checkpoint that a pane shows.
  letterOf(pane) {
    return pane === "b" ? LETTERS[this.other] : pane;
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

  // Further merges that have been measured, for the curve: [{mean, figures}].
  extras() {
    return [];
  }

  get curveLead() {
    return "alpha";
  }

  get curveHint() {
    return "Click or drag to move alpha.";
  }

  // During a drag nothing goes to Python.
  hold() {
    this.moving = true;
    clearTimeout(this.settling);
  }

  release() {
    this.moving = false;
    clearTimeout(this.settling);
    if (this.mixture) this.report("parameters", this.mixture.text);
    else this.report("alpha", this.alpha);
    this.emit("settled");
  }

  // Keys arrive in bursts: report once, after the last.
  nudge(alpha, exact = false) {
    this.hold();
    this.setAlpha(alpha, exact);
    this.settling = setTimeout(() => this.release(), SETTLE_MS);
  }

  setIndex(index) {
    const next = clamp(index, 0, Math.max(0, this.data.count - 1));
    if (next === this.index) return;
    this.index = next;
    this.name = this.data.names?.[next] ?? this.name;
    this.emit("picture");
    clearTimeout(this.stepping);
    this.stepping = setTimeout(() => this.report("index", this.index), SETTLE_MS);
  }

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
    if (this.adopts("alpha", before, data) && !this.moving) this.setAlpha(data.alpha, true);
    if (this.adopts("index", before, data)) {
      this.index = data.index;
      this.name = data.name;
      this.emit("picture");
    }
    this.emit("data", before);
  }

  adopts(field, before, data) {
    const echo = this.pending[field].indexOf(data[field]);
    if (echo >= 0) {
      this.pending[field].splice(0, echo + 1);
      return false;
    }
    if (data[field] === before[field]) return false; // this rerun has not heard of us yet
    this.pending[field] = [];
    this.acknowledge(field, data[field]);
    return data[field] !== this[field];
  }

  // Python moved the value. Component state would still hold our last report, and reporting that same value again
  // later would then not count as a change: so say that we follow.
  acknowledge(field, value) {
    if (this.reported[field] === undefined || this.reported[field] === value) return;
    this.reported[field] = value;
    this.send(field, value);
  }

  fullName(pane) {
    if (pane === "m") return "Merge";
    if (pane === "t") return "Ground truth";
    const letter = this.letterOf(pane);
    return `${letter.toUpperCase()}  ${this.members[LETTERS.indexOf(letter)].name}`;
  }

  get hasTruth() {
    return this.data.labelled;
  }

  panes() {
    return PANES.filter((pane) => pane !== "t" || this.hasTruth);
  }

  classOf(id) {
    if (this.classesFor !== this.data.classes) {
      this.classesFor = this.data.classes;
      this.byId = new Map(this.data.classes.map((entry) => [entry.id, entry]));
    }
    return this.byId.get(id) ?? null;
  }

  toggleClass(id, solo) {
    const ids = this.data.classes.map((entry) => entry.id);
    const hidden = new Set(this.settings.hidden);
    const alone = hidden.size === ids.length - 1 && !hidden.has(id);
    if (solo) this.change({ hidden: alone ? [] : ids.filter((other) => other !== id) });
    else if (hidden.delete(id) || hidden.add(id)) this.change({ hidden: [...hidden] });
  }
}
