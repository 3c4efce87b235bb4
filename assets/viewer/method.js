// @ts-check
// A registered merge method as the control of the mixture: its parameters as sliders, choices and weights.
//
// While a slider is dragged every value is asked for at once, as with alpha; a method that is several networks, or whose
// statistics are measured anew for each merge, is asked for at the release, and says so. Python hears of it at the release.

import { clamp, el, known, option, setText } from "./dom.js";
import { ends } from "./alpha.js";
import { Outlook } from "./outlook.js";

// What a frame is asked of, from the parameters that are set.
const wishMethod = ({ method, title }, values) => {
  const body = JSON.stringify({ method, parameters: values });
  return { key: body, mixture: body, label: title, query: "", body };
};

export class Method {
  constructor(/** @type {import("./state.js").View} */ view, control) {
    this.view = view;
    this.field = /** @type {const} */ ("parameters");
    this.onCurve = false;
    this.lead = "alpha";
    this.hint = "";
    this.adopt(control);
  }

  adopt(control) {
    this.control = control;
    this.values = structuredClone(control.values);
  }

  get value() {
    return JSON.stringify(this.values);
  }

  // A method has no place on the curve over alpha.
  get alpha() {
    return this.view.data.alpha;
  }

  get live() {
    return this.control.live;
  }

  // Nothing is asked for where pictures must be looked at first: the page offers to measure.
  wish() {
    return this.control.ready ? wishMethod(this.control, this.values) : null;
  }

  // Figures of the whole split, where just this merge has been measured.
  measured() {
    const { figures, values } = this.control;
    return figures && JSON.stringify(values) === this.value ? { point: figures, where: "measured" } : null;
  }

  rivals(metric) {
    return ends(this.view, metric);
  }

  extras() {
    return [];
  }

  setAlpha() {}

  // Its fields are drawn anew with what a rerun says: MethodControl.dataChanged.
  update() {}

  held() {}

  // What is several networks is asked for now.
  released() {
    if (!this.live) this.view.emit("mixture");
  }

  set(name, value) {
    this.values = { ...this.values, [name]: value };
    if (this.live) this.view.emit("mixture");
  }

  release() {
    this.view.release();
  }
}

export class MethodControl {
  constructor(/** @type {import("./state.js").View} */ view) {
    this.view = view;
    this.outlook = new Outlook(view);
    this.note = el("span", { class: "quiet-text", "data-testid": "method-note" });
    this.timing = el("span", { class: "quiet-text timing", "data-testid": "timing" });
    this.title = el("h2", {});
    this.fields = el("div", { class: "method-fields" });
    this.root = el("section", { class: "card alpha-card method-card", "aria-label": "Merge method", "data-testid": "method" },
      el("div", { class: "alpha-head" }, this.title, this.note, this.outlook.root, this.timing), this.fields);
    view.on("data", (before) => this.dataChanged(before));
    view.on("frame", () => this.showTiming());
    this.build();
  }

  get method() {
    return /** @type {Method} */ (this.view.mixture);
  }

  dataChanged(before) {
    const { control } = this.view.data;
    if (JSON.stringify(control) === JSON.stringify(before.control) || this.view.moving) return;
    const wasReady = this.method.control.ready;
    this.view.pending.parameters = [];
    const same = JSON.stringify(control.values) === this.method.value;
    this.method.adopt(control);
    this.build();
    if (!same || !wasReady) this.view.emit("mixture");
    this.view.emit("sweep"); // the headline's figures may be there now
  }

  build() {
    const { control } = this.method;
    setText(this.title, control.title);
    setText(this.note, control.note);
    this.fields.replaceChildren(...control.parameters.map((item) => parameterField(item, this.method)));
    if (!control.parameters.length) this.fields.append(el("span", { class: "quiet-text" }, "This method has no parameters."));
  }

  showTiming() {
    const { timing } = this.view;
    setText(this.timing, timing?.cached ? "frame from memory" : timing ? `frame ${Math.round(timing.took)} ms` : "");
  }
}

function parameterField(item, method) {
  const make = { number: numberField, choice: choiceField, flag: flagField, weights: weightsField, text: textField }[item.kind];
  const id = `parameter-${item.name}`;
  return el("div", { class: `method-field method-${item.kind}`, title: item.help }, ...make(item, method, id));
}

function numberField(item, method, id) {
  const read = (input) => (item.whole ? Math.round(input.valueAsNumber) : input.valueAsNumber);
  const value = method.values[item.name];
  const number = el("input", { type: "number", class: "number", min: item.min, max: item.max, step: item.step, value, "aria-label": item.name, "data-testid": `${id}-number` });
  const slider = item.slider
    ? el("input", { type: "range", min: item.min, max: item.max, step: item.step, value, "aria-label": item.name, "data-testid": id })
    : null;
  slider?.addEventListener("input", () => {
    method.view.hold();
    number.value = slider.value;
    method.set(item.name, read(slider));
  });
  slider?.addEventListener("change", () => method.release());
  number.addEventListener("keydown", (event) => event.stopPropagation());
  number.addEventListener("change", () => {
    if (!known(number.valueAsNumber)) return void (number.value = method.values[item.name]);
    const next = clamp(read(number), item.min ?? -Infinity, item.max ?? Infinity);
    number.value = next;
    if (slider) slider.value = next;
    method.view.hold();
    method.set(item.name, next);
    method.release();
    return undefined;
  });
  return [el("span", { class: "method-name" }, item.name), slider ?? el("span", {}), number];
}

function choiceField(item, method, id) {
  const select = el("select", { "aria-label": item.name, "data-testid": id }, ...item.options.map((label, place) => option(place, label)));
  select.value = item.values.indexOf(method.values[item.name]);
  select.addEventListener("change", () => {
    method.view.hold();
    method.set(item.name, item.values[Number(select.value)]);
    method.release();
  });
  return [el("span", { class: "method-name" }, item.name), select];
}

function flagField(item, method, id) {
  const box = el("input", { type: "checkbox", "aria-label": item.name, "data-testid": id });
  box.checked = method.values[item.name];
  box.addEventListener("change", () => {
    method.view.hold();
    method.set(item.name, box.checked);
    method.release();
  });
  return [el("label", { class: "method-name" }, box, ` ${item.name}`)];
}

// One slider a checkpoint; the others keep their proportions, so that the weights go on summing to 1.
function weightsField(item, method, id) {
  const rows = item.members.map((member, place) => {
    const slider = el("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": `${item.name} of ${member}`, "data-testid": `${id}-${place}` });
    const shown = el("span", { class: "method-share" });
    slider.addEventListener("input", () => {
      method.view.hold();
      method.set(item.name, sharedOut(method.values[item.name], place, slider.valueAsNumber));
      show();
    });
    slider.addEventListener("change", () => method.release());
    return { slider, shown, node: el("div", { class: "method-weight" }, el("span", { class: `method-name name-${"abcdefgh"[place]}` }, member), slider, shown) };
  });
  const show = () =>
    rows.forEach(({ slider, shown }, place) => {
      const value = method.values[item.name][place];
      if (slider !== slider.getRootNode().activeElement) slider.value = value;
      setText(shown, value.toFixed(2));
    });
  show();
  return [el("span", { class: "method-name method-of" }, item.name), ...rows.map((row) => row.node)];
}

const STEPS_OF_ONE = 1e4;

export function sharedOut(row, place, value) {
  const share = clamp(Math.round(value * STEPS_OF_ONE) / STEPS_OF_ONE, 0, 1);
  const rest = row.reduce((sum, weight, one) => sum + (one === place ? 0 : weight), 0);
  const next = row.map((weight, one) => {
    if (one === place) return share;
    return rest > 0 ? (weight / rest) * (1 - share) : (1 - share) / (row.length - 1);
  });
  return next;
}

function textField(item, method, id) {
  const input = el("input", { type: "text", value: method.values[item.name], "aria-label": item.name, "data-testid": id });
  input.addEventListener("keydown", (event) => event.stopPropagation());
  input.addEventListener("change", () => {
    method.view.hold();
    method.set(item.name, input.value);
    method.release();
  });
  return [el("span", { class: "method-name" }, item.name), input];
}

/** @type {import("./instance.js").Controls} */
export const methodControls = {
  kind: "viewer-merge",
  mixtureOf: (view) => new Method(view, view.data.control),
  build: (view) => ({ roots: [new MethodControl(view).root], keys: [], actions: {}, dispose: () => {} }),
};
