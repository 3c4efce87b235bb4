// One viewer: its parts, how they are laid out, and its life from the first run of the page to the last.
//
// The instance lives on the parent element. A rerun updates it in place; only a changed page takes it down. A mixture by layer
// has other controls around the same panes: it derives from this class.

import { button, el } from "./dom.js";
import { View } from "./state.js";
import { Loader } from "./loader.js";
import { Panes } from "./panes.js";
import { Readout } from "./readout.js";
import { Sweep } from "./sweep.js";
import { AlphaControl } from "./controls.js";
import { Method, MethodControl } from "./method.js";
import { Numbers } from "./numbers.js";
import { Legend } from "./legend.js";
import { Toolbar } from "./toolbar.js";
import { SweepCard } from "./sweepcard.js";
import { ALPHA_KEYS, Keys, helpPanel } from "./keys.js";

const INSTANCE = Symbol.for("fusion-viewer");

export class Banner {
  constructor(view) {
    this.text = el("p", {});
    this.root = el("div", { class: "banner", role: "alert", hidden: true, "data-testid": "banner" }, this.text,
      button("Dismiss", () => this.hide(), { class: "quiet" }));
    view.on("trouble", (trouble) => this.show(trouble));
    view.on("recovered", () => this.hide());
  }

  show({ got, needs, todo }) {
    this.text.replaceChildren(...[["Got", got], ["Needs", needs], ["Do", todo]].map(([label, text]) => el("span", {}, el("b", {}, label), ` ${text}`)));
    this.root.hidden = false;
  }

  hide() {
    if (!this.root.hidden) this.root.hidden = true;
  }
}

export class Instance {
  constructor(data, send) {
    const view = (this.view = this.newView(data, (field, value) => this.send(field, value)));
    this.send = send;
    this.sweep = new Sweep(view);
    this.loader = new Loader(view);
    this.panes = new Panes(view, this.loader);
    this.legend = new Legend(view, this.loader);
    this.card = new SweepCard(view);
    this.root = this.build(view);
    this.loader.open();
  }

  newView(data, send) {
    const view = new View(data, send);
    if (data.control) view.mixture = new Method(view, data.control);
    return view;
  }

  build(view) {
    const help = helpPanel(this.keyList());
    const toggleHelp = () => (help.open ? help.close() : help.showModal());
    const controls = this.controls(view);
    const readout = new Readout(view, this.loader);
    const root = el("div", { class: `viewer ${this.kind}`, "data-testid": "viewer", "data-key": view.data.key }, el("div", { class: "layout" },
      ...controls.roots, new Numbers(view, this.loader).root, new Toolbar(view, toggleHelp).root,
      el("div", { class: "stagebox" }, this.panes.root, readout.root, new Banner(view).root), this.legend.root, this.card.root), help);
    this.keys = new Keys(view, root, { "?": toggleHelp, ...controls.actions });
    return root;
  }

  get kind() {
    return "viewer-merge";
  }

  keyList() {
    return this.view.mixture ? [] : ALPHA_KEYS;
  }

  // What sets the mixture: elements for the layout, and keys.
  controls(view) {
    if (view.mixture) return { roots: [new MethodControl(view).root], actions: {} };
    this.alpha = new AlphaControl(view);
    return { roots: [this.alpha.root], actions: { p: () => this.alpha.toggle() } };
  }

  update(data, send) {
    this.send = send;
    this.view.update(data);
  }

  dispose() {
    this.alpha?.stop();
    this.view.save();
    for (const part of [this.sweep, this.loader, this.panes, this.legend, this.card.curve, this.keys]) part.dispose();
    clearTimeout(this.view.settling);
    clearTimeout(this.view.stepping);
    this.root.remove();
  }
}

// What Streamlit calls on the first run and again on every rerun with new data.
export const mountOf = (Type) => ({ data, parentElement, setStateValue }) => {
  let instance = parentElement[INSTANCE];
  if (instance && instance.view.data.key !== data.key) instance = instance.dispose();
  if (instance) instance.update(data, setStateValue);
  else {
    instance = parentElement[INSTANCE] = new Type(data, setStateValue);
    parentElement.append(instance.root);
  }
  // Streamlit may clean up after a call that a newer one has already replaced: only the newest call's cleanup counts.
  const call = (instance.call = {});
  return () => {
    if (instance.call !== call || parentElement[INSTANCE] !== instance) return;
    instance.dispose();
    delete parentElement[INSTANCE];
  };
};
