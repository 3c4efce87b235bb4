// The component: Streamlit calls `mount` on the first run and again on every rerun with new data.
//
// The instance lives on the parent element. A rerun updates it in place; only a changed page takes it down.

import { button, el } from "./dom.js";
import { View } from "./state.js";
import { Loader } from "./loader.js";
import { Panes } from "./panes.js";
import { Readout } from "./readout.js";
import { Sweep } from "./sweep.js";
import { AlphaControl } from "./controls.js";
import { Numbers } from "./numbers.js";
import { Legend } from "./legend.js";
import { Toolbar } from "./toolbar.js";
import { SweepCard } from "./sweepcard.js";
import { Keys, helpPanel } from "./keys.js";

const INSTANCE = Symbol.for("fusion-viewer");

class Banner {
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

class Instance {
  constructor(data, send) {
    const view = (this.view = new View(data, (field, value) => this.send(field, value)));
    this.send = send;
    this.sweep = new Sweep(view);
    this.loader = new Loader(view);
    this.panes = new Panes(view, this.loader);
    this.legend = new Legend(view, this.loader);
    this.card = new SweepCard(view);
    this.root = this.build(view);
    this.loader.open();
  }

  build(view) {
    const help = helpPanel();
    const toggleHelp = () => (help.open ? help.close() : help.showModal());
    const alpha = new AlphaControl(view);
    this.alpha = alpha;
    const readout = new Readout(view, this.loader);
    const root = el("div", { class: "viewer", "data-testid": "viewer", "data-key": view.data.key }, el("div", { class: "layout" },
      alpha.root, new Numbers(view, this.loader).root, new Toolbar(view, toggleHelp).root,
      el("div", { class: "stagebox" }, this.panes.root, readout.root, new Banner(view).root), this.legend.root, this.card.root), help);
    this.keys = new Keys(view, root, { "?": toggleHelp, p: () => alpha.toggle() });
    return root;
  }

  update(data, send) {
    this.send = send;
    this.view.update(data);
  }

  dispose() {
    this.alpha.stop();
    this.view.save();
    for (const part of [this.sweep, this.loader, this.panes, this.legend, this.card.curve, this.keys]) part.dispose();
    clearTimeout(this.view.settling);
    clearTimeout(this.view.stepping);
    this.root.remove();
  }
}

export default function mount({ data, parentElement, setStateValue }) {
  let instance = parentElement[INSTANCE];
  if (instance && instance.view.data.key !== data.key) instance = instance.dispose();
  if (instance) instance.update(data, setStateValue);
  else {
    instance = parentElement[INSTANCE] = new Instance(data, setStateValue);
    parentElement.append(instance.root);
  }
  // Streamlit may clean up after a call that a newer one has already replaced: only the newest call's cleanup counts.
  const call = (instance.call = {});
  return () => {
    if (instance.call !== call || parentElement[INSTANCE] !== instance) return;
    instance.dispose();
    delete parentElement[INSTANCE];
  };
}
