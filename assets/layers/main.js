// The component of a mixture layer by layer: the same panes, zoom, read-out and curve, with a column of units in place of one slider.

import { Instance, mountOf } from "../viewer/instance.js";
import { Column } from "./column.js";
import { Contribution, ProfileMeasure } from "./measure.js";
import { LayersView } from "./profile.js";
import { ProfileTools } from "./tools.js";

const LAYER_KEYS = [
  ["drag", "one bar; over many bars: draw the curve"],
  ["← →  Shift ← →", "a bar by 0.01, by 0.1"],
  ["Home, End", "a bar to B, to A"],
  ["↑ ↓", "the bar above, below"],
  ["l", "lock the bar to the anchor"],
  ["Ctrl Z, Ctrl Shift Z", "undo, redo"],
];

class LayersInstance extends Instance {
  newView(data, send) {
    return new LayersView(data, send);
  }

  get kind() {
    return "viewer-layers";
  }

  keyList() {
    return LAYER_KEYS;
  }

  controls(view) {
    this.contribution = new Contribution(view);
    this.measure = new ProfileMeasure(view);
    this.column = new Column(view, this.contribution);
    const tools = new ProfileTools(view, this.column, this.measure);
    this.undoKeys = (event) => this.steps(event);
    document.addEventListener("keydown", this.undoKeys);
    return { roots: [tools.root, this.column.root], actions: {} };
  }

  steps(event) {
    const back = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey);
    const forth = event.key.toLowerCase() === "y" && event.ctrlKey;
    if ((!back && !forth) || event.composedPath()[0].matches?.("input:not([type=range]), textarea, [contenteditable=true]")) return;
    event.preventDefault();
    if (forth || event.shiftKey) this.view.redo();
    else this.view.undo();
  }

  dispose() {
    document.removeEventListener("keydown", this.undoKeys);
    this.contribution.dispose();
    this.measure.dispose();
    super.dispose();
  }
}

export default mountOf(LayersInstance);
