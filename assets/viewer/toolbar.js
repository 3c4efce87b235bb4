// @ts-check
// How the pictures are shown: which picture, which mode, which panes, how compared.

import { button, clamp, el, known, option, setAttribute, setText } from "./dom.js";
import { LENSES, lensOf } from "./lenses.js";
import { PALETTES } from "./palettes.js";
import { PANES } from "./pane-registry.js";
import { Sure } from "./sure.js";
import { resetZoom, zoomKey } from "./zoom.js";

const LAYOUT_LABELS = [["grid", "Grid"], ["wipe", "Wipe"], ["blink", "Blink"]];

function segments(label, choices, onChoose, prefix) {
  const buttons = choices.map(([value, text]) => button(text, () => onChoose(value), { "data-value": value, "data-testid": `${prefix}-${value}` }));
  return { buttons, root: el("div", { class: "segments", role: "group", "aria-label": label }, ...buttons) };
}

const press = (group, isOn) => group.buttons.forEach((one) => setAttribute(one, "aria-pressed", isOn(one.dataset.value)));

function paneSelect(view, label, onChange, id) {
  return el("select", { "aria-label": label, "data-testid": id, on: { change: (event) => onChange(event.target.value) } },
    ...[...PANES.values()].map((kind) => option(kind.id, kind.short(view))));
}

export class Toolbar {
  // `more`: what else stands in the panel of the look.
  constructor(/** @type {import("./state.js").View} */ view, help, more = []) {
    this.view = view;
    this.more = more;
    this.layouts = segments("Layout", LAYOUT_LABELS, (layout) => view.change({ layout }), "layout");
    this.toggles = this.paneToggles(false);
    this.further = this.paneToggles(true);
    this.buildPicture();
    this.buildLens();
    this.buildCompare();
    this.buildZoom();
    this.help = button("?", help, { class: "round", "aria-label": "Keys", "data-testid": "help" });
    this.root = el("section", { class: "toolbar", "aria-label": "View" },
      this.stepper, this.name, this.lensBox, this.referenceBox, this.layouts.root, this.compare, this.toggles.root, this.zoom, this.look, this.help);
    view.on("settings data picture zoom other", () => this.show());
    this.show();
  }

  // Panes that cost something stand behind Look, the others in the row.
  paneToggles(optional) {
    const kinds = [...PANES.values()].filter((kind) => Boolean(kind.optional) === optional);
    const choices = kinds.map((kind) => [kind.id, kind.short(this.view)]);
    return segments(optional ? "Further panes" : "Panes", choices, (pane) => this.togglePane(pane), "show");
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

  // What the masks show, and beside it how they are drawn.
  buildLens() {
    const { view } = this;
    this.lens = el("select", { "aria-label": "What the masks show", "data-testid": "lens", on: { change: () => view.change({ lens: this.lens.value }) } },
      ...[...LENSES.values()].map(({ id, label }) => option(id, label)));
    this.lensBox = el("span", { class: "field" }, this.lens);
    this.reference = paneSelect(view, "Compare with", (reference) => view.change({ reference }), "reference");
    this.referenceBox = el("label", { class: "field" }, "with", this.reference);
    this.opacity = el("input", {
      type: "range", min: 0, max: 1, step: 0.01, "aria-label": "Mask opacity", "data-testid": "opacity",
      on: { input: () => view.adjust({ opacity: this.opacity.valueAsNumber }), keydown: (event) => event.stopPropagation() },
    });
    this.opacityText = el("span", { class: "count" });
    this.masks = button("Masks", () => view.change({ masks: !view.settings.masks }), { class: "toggle", "data-testid": "masks" });
    this.borders = button("Borders", () => view.change({ borders: !view.settings.borders }), { class: "toggle", "data-testid": "borders" });
    this.palette = el("select", { "aria-label": "Colours of the classes", "data-testid": "palette", on: { change: () => view.change({ palette: this.palette.value }) } },
      ...PALETTES.map(([id, label]) => option(id, label)));
    this.look = el("details", { class: "look", "data-testid": "look" }, el("summary", { "aria-label": "How masks are drawn", "data-testid": "look-open" }, "Look"),
      el("div", { class: "look-panel" }, this.masks, this.borders, el("label", { class: "field" }, "Opacity", this.opacity, this.opacityText), new Sure(view).root, this.palette, this.further.root,
        button("As at first", () => view.resetLook(), { class: "quiet", "data-testid": "look-reset" }), ...this.more));
    this.closeLook = (event) => {
      if (this.look.open && !event.composedPath().includes(this.look)) this.look.open = false;
    };
    document.addEventListener("pointerdown", this.closeLook);
  }

  buildZoom() {
    const { view } = this;
    this.zoomText = el("span", { class: "count zoom-text", "data-testid": "zoom-text" });
    const reset = button("", () => resetZoom(view), { class: "quiet zoom-reset", "aria-label": "Reset zoom", "data-testid": "zoom-reset" });
    reset.append(this.zoomText);
    this.zoom = el("div", { class: "stepper zoom" },
      button("−", () => zoomKey(view, -1), { class: "round", "aria-label": "Zoom out", "data-testid": "zoom-out" }), reset,
      button("+", () => zoomKey(view, 1), { class: "round", "aria-label": "Zoom in", "data-testid": "zoom-in" }));
  }

  buildCompare() {
    const { view } = this;
    this.left = paneSelect(view, "Left pane", (left) => view.change({ left }), "left-pane");
    this.right = paneSelect(view, "Right pane", (right) => view.change({ right }), "right-pane");
    this.compare = el("div", { class: "field" }, this.left, el("span", { class: "quiet-text" }, "|"), this.right);
  }

  togglePane(pane) {
    const { view } = this;
    const shown = view.panes().filter((one) => (one === pane ? !view.shows(one) : view.shows(one)));
    if (shown.length) view.change({ shown });
  }

  show() {
    const { view } = this;
    const { data, settings } = view;
    this.root.hidden = !data.live; // without pictures there is nothing to set
    this.lens.value = settings.lens;
    this.palette.value = settings.palette;
    press(this.layouts, (layout) => layout === settings.layout);
    for (const group of [this.toggles, this.further]) press(group, (pane) => view.shows(pane));
    this.showOffered(view.panes());
    this.showPicture(data);
    this.compare.hidden = settings.layout === "grid";
    for (const { root } of [this.toggles, this.further]) root.hidden = settings.layout !== "grid";
    this.referenceBox.hidden = !lensOf(settings.lens).needs.includes("reference");
    this.left.value = settings.left;
    this.right.value = settings.right;
    this.reference.value = settings.reference;
    this.opacity.value = settings.opacity;
    setText(this.opacityText, `${Math.round(100 * settings.opacity)} %`);
    setText(this.zoomText, `${settings.zoom.scale.toFixed(1)}×`);
    setAttribute(this.masks, "aria-pressed", settings.masks);
    setAttribute(this.borders, "aria-pressed", settings.borders);
  }

  // Without ground truth there are no errors to show and no pane of it; which checkpoint B is may have changed.
  showOffered(offered) {
    const { view } = this;
    for (const one of this.lens.options) one.disabled = LENSES.get(one.value).needs.includes("truth") && !view.hasTruth;
    for (const one of [...this.toggles.buttons, ...this.further.buttons]) {
      one.hidden = !offered.includes(one.dataset.value);
      setText(one, PANES.get(one.dataset.value).short(view));
    }
    for (const one of [this.left, this.right, this.reference].flatMap((select) => [...select.options])) {
      one.disabled = !offered.includes(one.value);
      setText(one, PANES.get(one.value).short(view));
      one.hidden = one.disabled && !one.text; // a pane that has no name here cannot come either
    }
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

  dispose() {
    document.removeEventListener("pointerdown", this.closeLook);
  }
}
