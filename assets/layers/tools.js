// @ts-check
// The card above the column: what a row is, presets, links, anchor, undo, and measuring the profile.

import { button, clamp, el, known, option, setAttribute, setText } from "../viewer/dom.js";
import { Trouble, request } from "../viewer/frames.js";
import { Outlook } from "../viewer/outlook.js";
import { LETTERS } from "../viewer/pane-registry.js";
import { showProgress } from "./measure.js";

const RADII = [0, 1, 2, 3, 5, 8];
const CURVES = {
  equal: "Equal weights",
  ramp: "Ramp of the paper (H)", backbone: "Backbone from the anchor, head from the other", head: "Head from the anchor, backbone from the other",
  step: "Smooth step to the anchor", cosine: "From layer cosine",
};
const SAVED = "saved/";

export class ProfileTools {
  constructor(/** @type {import("../viewer/state.js").View} */ view, column, measure) {
    this.view = view;
    this.profile = /** @type {import("./profile.js").Profile} */ (view.mixture);
    this.column = column;
    this.measure = measure;
    this.saved = [];
    this.build();
    view.on("mixture units history settled data frame sweep", () => this.show());
    view.on("data", (before) => {
      if (before.base !== view.data.base) this.fetchSaved();
    });
    this.fetchSaved();
    this.show();
  }

  build() {
    this.outlook = new Outlook(this.view);
    this.formula = el("span", { class: "formula", "data-testid": "formula" });
    this.timing = el("span", { class: "quiet-text timing", "data-testid": "timing" });
    this.undoButton = button("↶", () => this.profile.undo(), { class: "round", title: "Undo (Ctrl+Z)", "aria-label": "Undo", "data-testid": "undo" });
    this.redoButton = button("↷", () => this.profile.redo(), { class: "round", title: "Redo (Ctrl+Shift+Z)", "aria-label": "Redo", "data-testid": "redo" });
    this.level = this.choice("granularity", [], (value) => this.profile.setLevel(value));
    this.link = this.choice("link", RADII.map((radius) => [String(radius), radius ? `±${radius}` : "off"]), (value) => (this.column.radius = Number(value)));
    this.anchors = this.lettered("anchor", (member) => this.profile.setAnchor(member));
    this.brushes = this.lettered("brush", (member) => this.profile.setBrush(member));
    this.preset = this.choice("preset", [], (value) => this.choose(value));
    this.all = el("input", { type: "number", min: 0, max: 1, step: 0.05, "aria-label": "Weight for all layers", title: "The same weight for all layers", "data-testid": "uniform",
      on: { change: () => this.uniform(), keydown: (event) => event.stopPropagation() } });
    this.name = el("input", { type: "text", maxlength: 60, placeholder: "keep as…", "aria-label": "Name of the preset", "data-testid": "preset-name", on: { keydown: (event) => this.typed(event) } });
    this.save = button("Save", () => this.keep(), { "data-testid": "preset-save" });
    this.drop = button("Delete", () => this.forget(), { class: "quiet", "data-testid": "preset-delete" });
    this.buildMeasure();
    this.brushField = el("span", { class: "field", title: "Whose weight a drag sets; the others share the rest as before" }, "Drag sets",
      el("span", { class: "segments", role: "group", "aria-label": "Drag sets the weight of" }, ...this.brushes));
    const field = (label, ...nodes) => el("label", { class: "field" }, label, ...nodes);
    this.root = el("section", { class: "card alpha-card profile-card", "aria-label": "Layer profile" },
      el("div", { class: "alpha-head" }, el("h2", {}, "layers"), this.formula, this.outlook.root, this.go, this.goCurve, this.stop, this.progressBar, this.text, this.timing),
      el("div", { class: "tools" }, field("Rows", this.level), field("Preset", this.preset), field("All", this.all),
        field("Link", this.link), this.brushField, el("span", { class: "field" }, "Anchor", el("span", { class: "segments", role: "group", "aria-label": "Anchor" }, ...this.anchors)),
        this.undoButton, this.redoButton, el("span", { class: "spring" }),
        el("span", { class: "stepper" }, this.name, this.save, this.drop)));
  }

  buildMeasure() {
    this.go = button("Measure profile", () => this.measure.start(), { class: "primary", "data-testid": "profile-measure" });
    this.goCurve = button("Measure its curve", () => this.measure.startCurve(), { "data-testid": "profile-curve", title: "Measures this profile moved up and down: a second curve beside the uniform one" });
    this.stop = button("Cancel", () => this.measure.cancel(), { class: "quiet", "data-testid": "profile-cancel" });
    this.bar = el("div", { class: "bar" });
    this.progressBar = el("div", { class: "progress", role: "progressbar", "aria-label": "Measuring the profile" }, this.bar);
    this.text = el("span", { class: "quiet-text", "data-testid": "profile-text" });
  }

  lettered(name, take) {
    return [...LETTERS].map((letter, member) => button(letter.toUpperCase(), () => take(member), { "data-testid": `${name}-${letter.toUpperCase()}` }));
  }

  choice(name, entries, take) {
    const select = el("select", { "data-testid": name, on: { change: () => take(select.value) } }, ...entries.map(([value, label]) => option(value, label)));
    return select;
  }

  // --- presets ---

  choose(value) {
    if (value.startsWith(SAVED)) this.profile.load(this.saved[Number(value.slice(SAVED.length))]);
    else this.profile.preset(value);
    this.chosen = value;
    this.chosenFor = this.profile.profileKey;
    this.show();
  }

  uniform() {
    const value = this.all.valueAsNumber;
    if (!known(value)) return;
    this.view.hold();
    this.profile.setAll(clamp(value, 0, 1));
    this.view.release();
  }

  typed(event) {
    event.stopPropagation();
    if (event.key === "Enter") this.keep();
  }

  keep() {
    if (!this.name.value.trim()) return this.name.focus();
    return this.shelve("POST", { ...JSON.parse(this.profile.body), name: this.name.value });
  }

  forget() {
    const chosen = this.chosenSaved();
    return chosen && this.shelve("DELETE", { name: chosen.name });
  }

  chosenSaved() {
    return this.chosen?.startsWith(SAVED) ? this.saved[Number(this.chosen.slice(SAVED.length))] : null;
  }

  shelve(method, content) {
    return this.fetchSaved({ method, body: JSON.stringify(content), headers: { "Content-Type": "application/json" } }, method === "POST" ? content.name : null);
  }

  async fetchSaved(options = {}, name = null) {
    if (!this.view.data.base) return;
    try {
      this.saved = (await (await request(`${this.view.data.base}/presets`, options)).json()).presets ?? [];
      const place = this.saved.findIndex((one) => one.name === name?.trim());
      this.chosen = place < 0 ? null : `${SAVED}${place}`;
      this.chosenFor = this.profile.units && this.profile.profileKey;
      this.listPresets();
    } catch (error) {
      if (error instanceof Trouble) this.view.emit("trouble", error);
    }
    this.show();
  }

  listPresets() {
    const built = Object.entries(CURVES).map(([value, label]) => option(value, label));
    const own = this.saved.map((preset, place) => option(`${SAVED}${place}`, preset.name));
    this.preset.replaceChildren(option("", "choose…"), ...built, ...(own.length ? [el("optgroup", { label: "Saved" }, ...own)] : []));
  }

  listLevels() {
    const offered = this.profile.units?.offered ?? [this.profile.level];
    if (offered.length !== this.level.options.length) this.level.replaceChildren(...offered.map((level) => option(level, level)));
  }

  // --- showing ---

  show() {
    const { profile } = this;
    setText(this.formula, this.words());
    this.listLevels();
    this.level.value = profile.level;
    if (this.all !== this.all.getRootNode().activeElement) this.all.value = profile.units && this.allEqual() ? profile.share(0) : "";
    if (profile.units && this.chosenFor !== profile.profileKey) this.chosen = null; // changed by hand since
    this.preset.value = this.chosen ?? "";
    this.showLetters(this.anchors, profile.anchor);
    this.showLetters(this.brushes, profile.brush);
    this.brushField.hidden = profile.count < 3;
    this.undoButton.disabled = !profile.past.length;
    this.redoButton.disabled = !profile.future.length;
    this.drop.hidden = !this.chosenSaved();
    this.showTiming();
    this.showMeasure();
  }

  // Means over all elements; what A does not get the others do.
  words() {
    const { view, profile } = this;
    const means = view.members.map((_, member) => (profile.units ? profile.mean(member) : 1 / profile.count));
    return `mean ${view.members.map(({ name }, member) => `${means[member].toFixed(2)} × ${LETTERS[member].toUpperCase()} ${name}`).join("  +  ")}`;
  }

  allEqual() {
    const { profile } = this;
    return profile.weights.every((_, place) => profile.share(place) === profile.share(0));
  }

  showLetters(buttons, chosen) {
    buttons.forEach((one, member) => {
      one.hidden = member >= this.profile.count;
      setAttribute(one, "aria-pressed", member === chosen);
    });
  }

  showTiming() {
    const { timing } = this.view;
    if (timing?.cached) return setText(this.timing, "frame from memory");
    const parts = timing ? [`frame ${Math.round(timing.took)} ms`] : [];
    if (known(timing?.merge) && known(timing?.forward)) parts.push(`merge ${timing.merge.toFixed(1)}, network ${Math.round(timing.forward)}${timing.from ? ` from ${timing.from}` : ""}`);
    return setText(this.timing, parts.join(" · "));
  }

  showMeasure() {
    const { view, profile, measure } = this;
    const running = measure.running || (view.sweep.running && measure.asked);
    const offered = view.data.live && view.data.labelled && profile.units;
    this.go.hidden = Boolean(running) || Boolean(view.measured() && view.sweep.points.length > 2);
    this.go.disabled = !offered || view.moving;
    this.goCurve.hidden = Boolean(running) || !profile.units || profile.uniform || profile.curveOf(profile.profileKey).length > 2;
    this.goCurve.disabled = this.go.disabled;
    this.stop.hidden = this.progressBar.hidden = !running;
    showProgress(measure, this.bar, this.text);
    if (running && !measure.running) {
      const { done, total } = view.sweep.answer;
      this.bar.style.width = total ? `${(100 * done) / total}%` : "0";
      setText(this.text, "uniform curve");
    }
  }
}
