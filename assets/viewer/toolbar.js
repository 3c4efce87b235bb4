// How the pictures are shown: which picture, which mode, which panes, how compared.

import { button, clamp, el, known, option, setAttribute, setText } from "./dom.js";
import { KEY_COLORS, RAMP_CSS } from "./paint.js";
import { resetZoom, zoomKey } from "./zoom.js";

export const MODES = [["mask", "Mask"], ["outline", "Outline"], ["confidence", "Confidence"], ["errors", "Errors"], ["disagreement", "Disagreement"]];
const LAYOUTS = [["grid", "Side by side"], ["wipe", "Wipe"], ["blink", "Blink"]];
const PANE_LABELS = [["a", "A"], ["m", "Merge"], ["b", "B"], ["t", "Truth"]];

function segments(label, choices, onChoose, prefix) {
  const buttons = choices.map(([value, text]) => button(text, () => onChoose(value), { "data-value": value, "data-testid": `${prefix}-${value}` }));
  return { buttons, root: el("div", { class: "segments", role: "group", "aria-label": label }, ...buttons) };
}

const press = (group, isOn) => group.buttons.forEach((one) => setAttribute(one, "aria-pressed", isOn(one.dataset.value)));

function paneSelect(label, onChange, id) {
  return el("select", { "aria-label": label, "data-testid": id, on: { change: (event) => onChange(event.target.value) } },
    ...PANE_LABELS.map(([value, text]) => option(value, text)));
}

export class Toolbar {
  constructor(view, help) {
    this.view = view;
    this.modes = segments("What the masks show", MODES, (mode) => view.change({ mode }), "mode");
    this.layouts = segments("Layout", LAYOUTS, (layout) => view.change({ layout }), "layout");
    this.toggles = segments("Panes", PANE_LABELS, (pane) => this.togglePane(pane), "show");
    this.buildPicture();
    this.buildLook();
    this.buildCompare();
    this.help = button("?", help, { class: "round", "aria-label": "Keys", "data-testid": "help" });
    this.root = el("section", { class: "toolbar", "aria-label": "View" },
      el("div", { class: "tools" }, this.stepper, this.name, el("span", { class: "spring" }), this.layouts.root, this.compare, this.toggles.root, this.zoom, this.help),
      el("div", { class: "tools" }, this.modes.root, this.referenceBox, this.key, el("span", { class: "spring" }), this.masks, this.borders, this.opacityBox));
    view.on("settings data picture zoom other", () => this.show());
    this.show();
  }

  buildPicture() {
    const { view } = this;
    this.previous = button("‹", () => view.setIndex(view.index - 1), { class: "round", "aria-label": "Previous picture", "data-testid": "previous" });
    this.following = button("›", () => view.setIndex(view.index + 1), { class: "round", "aria-label": "Next picture", "data-testid": "next" });
    this.jump = el("input", {
      class: "jump", type: "number", min: 1, step: 1, "aria-label": "Picture number", "data-testid": "jump",
      on: { change: () => this.jumped(), keydown: (event) => event.stopPropagation() },
    });
    this.count = el("span", { class: "count", "data-testid": "count" });
    this.stepper = el("div", { class: "stepper" }, this.previous, this.jump, this.count, this.following);
    this.name = el("span", { class: "picture-name", "data-testid": "picture-name" });
  }

  jumped() {
    const number = this.jump.valueAsNumber;
    if (known(number)) this.view.setIndex(clamp(Math.round(number), 1, this.view.data.count) - 1);
    this.show();
  }

  buildLook() {
    const { view } = this;
    this.opacity = el("input", {
      type: "range", min: 0, max: 1, step: 0.01, "aria-label": "Mask opacity", "data-testid": "opacity",
      on: { input: () => view.adjust({ opacity: this.opacity.valueAsNumber }), keydown: (event) => event.stopPropagation() },
    });
    this.opacityText = el("span", { class: "count" });
    this.opacityBox = el("label", { class: "field" }, "Opacity", this.opacity, this.opacityText);
    this.masks = button("Masks", () => view.change({ masks: !view.settings.masks }), { class: "toggle", "data-testid": "masks" });
    this.borders = button("Borders", () => view.change({ borders: !view.settings.borders }), { class: "toggle", "data-testid": "borders" });
    this.zoomText = el("span", { class: "count zoom-text", "data-testid": "zoom-text" });
    this.zoom = el("div", { class: "stepper" },
      button("−", () => zoomKey(view, -1), { class: "round", "aria-label": "Zoom out", "data-testid": "zoom-out" }),
      button("", () => resetZoom(view), { class: "quiet zoom-reset", "aria-label": "Reset zoom", "data-testid": "zoom-reset" }),
      button("+", () => zoomKey(view, 1), { class: "round", "aria-label": "Zoom in", "data-testid": "zoom-in" }));
    this.zoom.children[1].append(this.zoomText);
    this.key = el("div", { class: "mode-key", "data-testid": "mode-key" });
  }

  buildCompare() {
    const { view } = this;
    this.left = paneSelect("Left pane", (left) => view.change({ left }), "left-pane");
    this.right = paneSelect("Right pane", (right) => view.change({ right }), "right-pane");
    this.compare = el("div", { class: "field" }, this.left, el("span", { class: "quiet-text" }, "against"), this.right);
    this.reference = paneSelect("Compare with", (reference) => view.change({ reference }), "reference");
    this.referenceBox = el("label", { class: "field" }, "with", this.reference);
  }

  togglePane(pane) {
    const visible = { ...this.view.settings.visible, [pane]: !this.view.settings.visible[pane] };
    if (this.view.panes().some((one) => visible[one])) this.view.change({ visible });
  }

  show() {
    const { view } = this;
    const { data, settings } = view;
    this.root.hidden = !data.live; // without pictures there is nothing to set
    press(this.modes, (mode) => mode === settings.mode);
    press(this.layouts, (layout) => layout === settings.layout);
    press(this.toggles, (pane) => settings.visible[pane]);
    this.showTruth(data.labelled);
    this.showOther(view.letterOf("b").toUpperCase());
    this.showPicture(data);
    this.compare.hidden = settings.layout === "grid";
    this.toggles.root.hidden = settings.layout !== "grid";
    this.referenceBox.hidden = settings.mode !== "disagreement";
    this.left.value = settings.left;
    this.right.value = settings.right;
    this.reference.value = settings.reference;
    this.opacity.value = settings.opacity;
    setText(this.opacityText, `${Math.round(100 * settings.opacity)} %`);
    setText(this.zoomText, `${settings.zoom.scale.toFixed(1)}×`);
    setAttribute(this.masks, "aria-pressed", settings.masks);
    setAttribute(this.borders, "aria-pressed", settings.borders);
    this.showKey(settings.mode);
  }

  // Without ground truth there are no errors to show and no fourth pane.
  showTruth(labelled) {
    this.modes.buttons.find((one) => one.dataset.value === "errors").disabled = !labelled;
    this.toggles.buttons.find((one) => one.dataset.value === "t").hidden = !labelled;
    for (const select of [this.left, this.right, this.reference]) [...select.options].find((one) => one.value === "t").disabled = !labelled;
  }

  showOther(letter) {
    setText(this.toggles.buttons.find((one) => one.dataset.value === "b"), letter);
    for (const select of [this.left, this.right, this.reference]) setText([...select.options].find((one) => one.value === "b"), letter);
  }

  showPicture(data) {
    const { view } = this;
    if (this.jump !== this.jump.getRootNode().activeElement || this.jump.valueAsNumber !== view.index + 1) this.jump.value = view.index + 1;
    setAttribute(this.jump, "max", data.count);
    setText(this.count, `/ ${data.count}`);
    setText(this.name, view.name ?? "");
    setAttribute(this.name, "title", view.name);
    this.previous.disabled = view.index <= 0;
    this.following.disabled = view.index >= data.count - 1;
  }

  showKey(mode) {
    if (mode === this.keyMode) return;
    this.keyMode = mode;
    this.key.replaceChildren(...keyOf(mode));
  }
}

function keyOf(mode) {
  const chip = (color, text) => {
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = color;
    return el("span", { class: "chip" }, swatch, text);
  };
  if (mode === "errors") return [chip(KEY_COLORS.right, "right"), chip(KEY_COLORS.wrong, "wrong"), chip(KEY_COLORS.unknown, "void")];
  if (mode === "disagreement") return [el("span", { class: "quiet-text" }, "coloured where the label differs, dim where it agrees")];
  if (mode !== "confidence") return [];
  const strip = el("span", { class: "ramp" });
  strip.style.background = RAMP_CSS;
  return [el("span", { class: "chip" }, "0 %", strip, "100 %")];
}
