// @ts-check
// One viewer: its parts, how they are laid out, and its life from the first run of the page to the last.
//
// The instance lives on the parent element. A rerun updates it in place; only a changed page takes it down. What differs between
// alpha, a method and a profile by layer is a `Controls`: the mixture, the elements that set it, and its keys.

import { button, el } from "./dom.js";
import "./panes-errors.js"; // before anybody lists the panes
import { View } from "./state.js";
import { Loader } from "./loader.js";
import { Panes } from "./panes.js";
import { Strip } from "./strip.js";
import { Readout } from "./readout.js";
import { Sweep } from "./sweep.js";
import { Numbers } from "./numbers.js";
import { LearnersBar } from "./learners.js";
import { Legend } from "./legend.js";
import { Toolbar } from "./toolbar.js";
import { LensKey } from "./lens-key.js";
import { followReference } from "./reference.js";
import { SweepCard } from "./sweepcard.js";
import { Keys, helpPanel } from "./keys.js";
import { Marks } from "./marks.js";
import { fillsScreen } from "./present.js";
import { TakeAway } from "./takeaway.js";

const INSTANCE = Symbol.for("fusion-viewer");

/**
 * @typedef {object} Controls what sets the mixture
 * @property {string} kind a class of the viewer's root
 * @property {(view: View) => import("./alpha.js").Mixture} mixtureOf
 * @property {(view: View) => Built} build
 *
 * @typedef {object} Built
 * @property {HTMLElement[]} roots
 * @property {Array<[string, string]>} keys for the list of keys: what is pressed, what it does
 * @property {Record<string, () => void>} actions
 * @property {() => void} dispose
 */

export class Banner {
  constructor(/** @type {import("./state.js").View} */ view) {
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
  constructor(data, send, /** @type {Controls} */ controls) {
    const view = (this.view = new View(data, (field, value) => this.send(field, value), controls.mixtureOf));
    this.send = send;
    this.sweep = new Sweep(view);
    this.loader = new Loader(view);
    this.panes = new Panes(view, this.loader);
    this.marks = new Marks(view, this.loader, this.panes);
    this.strip = new Strip(view, this.loader);
    this.legend = new Legend(view, this.loader);
    this.card = new SweepCard(view);
    this.controls = controls.build(view);
    this.root = this.build(view, controls.kind);
    if (data.errors) followReference(view);
    this.loader.open();
  }

  build(view, kind) {
    const help = /** @type {HTMLDialogElement} */ (helpPanel(this.controls.keys));
    const toggleHelp = () => (help.open ? help.close() : help.showModal());
    this.readout = new Readout(view, this.loader);
    this.toolbar = new Toolbar(view, toggleHelp, [this.marks.tools]);
    const root = el("div", { class: `viewer ${kind}${view.data.errors ? " compact" : ""}`, "data-testid": "viewer", "data-key": view.data.key }, el("div", { class: "layout" },
      ...this.controls.roots, new Numbers(view, this.loader).root, this.toolbar.root,
      el("div", { class: "stagecell" }, new LearnersBar(view).root, el("div", { class: "stagebox" }, this.panes.root, new LensKey(view).root, this.readout.root, ...this.marks.roots, new Banner(view).root), this.strip.root),
      this.legend.root, this.card.root), help);
    this.takeaway = new TakeAway(view, this.loader, this.card.curve);
    this.toolbar.look.querySelector(".look-panel").append(this.takeaway.root);
    this.letGo = fillsScreen(root);
    this.keys = new Keys(view, root, { "?": toggleHelp, n: () => this.marks.toggle(), ...this.controls.actions });
    return root;
  }

  update(data, send) {
    this.send = send;
    this.view.update(data);
  }

  dispose() {
    this.letGo();
    const parts = [this.takeaway, this.controls, this.view, this.sweep, this.loader, this.panes, this.marks, this.strip, this.toolbar, this.legend, this.card.curve, this.keys];
    for (const part of parts) part.dispose();
    this.root.remove();
  }
}

// What Streamlit calls on the first run and again on every rerun with new data.
export const mountOf = (controlsOf) => ({ data, parentElement, setStateValue }) => {
  let instance = parentElement[INSTANCE];
  if (instance && instance.view.data.key !== data.key) instance = instance.dispose();
  if (instance) instance.update(data, setStateValue);
  else {
    instance = parentElement[INSTANCE] = new Instance(data, setStateValue, controlsOf(data));
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
