// @ts-check
// What the server measures for a mixture layer by layer: whole profiles, and what each unit contributes.

import { button, duration, el, known, option, setAttribute, setText } from "../viewer/dom.js";
import { LETTERS } from "../viewer/pane-registry.js";
import { Watched } from "../viewer/watched.js";

// How far a work is, on a bar and in words.
export function showProgress({ running, answer }, bar, text) {
  const { done, total, message, state } = answer;
  bar.style.width = total ? `${(100 * done) / total}%` : "0";
  setText(text, running ? `${total ? Math.floor((100 * done) / total) : 0} %  ${duration(answer.seconds_left)}` : state === "failed" ? message : state === "cancelled" ? "cancelled" : "");
}

export class ProfileMeasure extends Watched {
  constructor(/** @type {import("../viewer/state.js").View} */ view) {
    super(view);
    this.profile = /** @type {import("./profile.js").Profile} */ (view.mixture);
    view.on("settled units", () => this.poll());
  }

  get url() {
    return `${this.view.data.base}/profile`;
  }

  forget() {
    super.forget();
    this.curve = null;
  }

  poll() {
    if (this.profile.units && this.view.data.labelled && this.view.data.live) return this.ask(false);
    return null;
  }

  ask(measure) {
    const { view, profile } = this;
    if (this.curve && (this.curve.level !== profile.level || this.curve.anchor !== profile.anchor)) this.curve = null;
    const { points = [], of } = this.curve ?? {};
    this.asked = [{ key: profile.profileKey, mean: view.alpha }, ...points.map(({ key, mean }) => ({ key, mean, of }))];
    const body = { ...JSON.parse(profile.body), more: points.map((point) => point.weights), measure };
    return this.order(this.url, body);
  }

  // The profile moved up and down, as a curve beside the uniform one.
  async startCurve() {
    const { profile } = this;
    const points = [...profile.shifted()].map(([key, point]) => ({ key, ...point }));
    this.curve = { of: profile.profileKey, level: profile.level, anchor: profile.anchor, points };
    await this.start();
  }

  // The profile, and the uniform curve to hold it against where that is not known yet.
  async start() {
    await this.ask(true);
    if (this.view.sweep.points.length < 3) await this.view.sweep.start(0.1);
  }

  cancel() {
    this.view.sweep.cancel();
    this.curve = null;
    return this.send(this.url, { method: "DELETE" });
  }

  taken(ended) {
    [this.answer.figures, ...(this.answer.more ?? [])].forEach((figures, place) => this.remember(this.asked?.[place], figures));
    this.view.emit("sweep");
    if (ended) this.poll();
    else if (!this.running) this.curve = null; // all that can be known of it is known
  }

  remember(asked, figures) {
    if (!asked || !figures) return;
    const { measuredFigures } = this.profile;
    measuredFigures.set(asked.key, { ...measuredFigures.get(asked.key), mean: asked.mean, figures, ...(asked.of ? { of: asked.of } : {}) });
  }
}

export class Contribution extends Watched {
  constructor(/** @type {import("../viewer/state.js").View} */ view) {
    super(view);
    this.profile = /** @type {import("./profile.js").Profile} */ (view.mixture);
    this.of = "miou";
    this.build();
    view.on("units data mixture", () => this.show());
    this.poll();
  }

  get url() {
    return `${this.view.data.base}/contribution?of=${this.of}`;
  }

  build() {
    this.go = button("What each contributes", () => this.start(), { class: "primary", "data-testid": "contribution-start" });
    this.stop = button("Cancel", () => this.send(this.url, { method: "DELETE" }), { class: "quiet", "data-testid": "contribution-cancel" });
    this.select = el("select", { "aria-label": "Figure of the contributions", "data-testid": "contribution-of", on: { change: () => this.choose() } });
    this.bar = el("div", { class: "bar" });
    this.progressBar = el("div", { class: "progress", role: "progressbar", "aria-label": "Contributions" }, this.bar);
    this.text = el("span", { class: "quiet-text", "data-testid": "contribution-text" });
    this.note = el("p", { class: "caption" });
    this.root = el("div", { class: "contribution" }, el("div", { class: "sweep-row" }, this.go, this.stop, this.select, this.progressBar, this.text), this.note);
    this.show();
  }

  forget() {
    super.forget();
    this.of = "miou";
    this.poll();
  }

  get asks() {
    return super.asks && this.view.data.live && this.view.data.labelled;
  }

  start() {
    return this.order(this.url, this.profile.body);
  }

  choose() {
    this.of = this.select.value;
    this.poll();
  }

  taken(ended) {
    this.show();
    this.view.emit("contribution");
    if (ended) this.tell();
  }

  // By unit: what it adds to the anchor alone, and what the merge changes by when it is left out. Only for the level it was measured at.
  changes() {
    const { level, only, without, base, whole } = this.answer;
    if (!only || level !== this.profile.level) return { alone: [], missing: [] };
    const against = (values, start) => values.map((value) => (known(value) && known(start) ? value - start : null));
    return { alone: against(only, base), missing: against(without, whole) };
  }

  show() {
    const { data } = this.view;
    this.showOptions();
    const offered = data.live && data.labelled && Boolean(this.profile.units);
    this.go.hidden = this.running;
    this.go.disabled = !offered;
    setAttribute(this.go, "title", offered ? "Measures every unit alone on the anchor, and the merge without it" : "Needs a known network and pictures with masks");
    this.stop.hidden = this.progressBar.hidden = !this.running;
    showProgress(this, this.bar, this.text);
    setText(this.note, this.words());
  }

  words() {
    const { level, weights, anchor } = this.answer;
    if (!level) return "Upper bar: the unit alone taken from the merge, rest anchor. Lower bar: the merge without it.";
    const stale = level !== this.profile.level || anchor !== this.profile.anchor || JSON.stringify(weights) !== JSON.stringify(this.profile.weights);
    return `Upper bar: the unit alone, against the anchor ${LETTERS[anchor].toUpperCase()}. Lower bar: without it, against the merge.${stale ? ` Measured for an earlier ${level} profile.` : ""}`;
  }

  showOptions() {
    const { classes } = this.view.data;
    if (this.optionsFor === classes) return;
    this.optionsFor = classes;
    this.select.replaceChildren(option("miou", "mIoU"), ...classes.map((entry) => option(String(entry.id), entry.name)));
    this.select.value = this.of;
  }
}
