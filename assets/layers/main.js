// @ts-check
// The component of a mixture layer by layer: the same panes, zoom, read-out and curve, with a column of units in place of one slider.

import { mountOf } from "../viewer/instance.js";
import { Column } from "./column.js";
import { Contribution, ProfileMeasure } from "./measure.js";
import { Profile } from "./profile.js";
import { ProfileTools } from "./tools.js";

/** @type {Array<[string, string]>} */
const LAYER_KEYS = [
  ["drag", "one bar; over many bars: draw the curve"],
  ["← →  Shift ← →", "a bar by 0.01, by 0.1"],
  ["Home, End", "a bar to B, to A"],
  ["↑ ↓", "the bar above, below"],
  ["l", "lock the bar to the anchor"],
  ["Ctrl Z, Ctrl Shift Z", "undo, redo"],
];

// Undo and redo, wherever the focus is but in a field that has its own.
function steps(event, profile) {
  const back = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey);
  const forth = event.key.toLowerCase() === "y" && event.ctrlKey;
  if ((!back && !forth) || event.composedPath()[0].matches?.("input:not([type=range]), textarea, [contenteditable=true]")) return;
  event.preventDefault();
  if (forth || event.shiftKey) profile.redo();
  else profile.undo();
}

/** @type {import("../viewer/instance.js").Controls} */
const layerControls = {
  kind: "viewer-layers",
  mixtureOf: (view) => new Profile(view),
  build(view) {
    const contribution = new Contribution(view);
    const measure = new ProfileMeasure(view);
    const column = new Column(view, contribution);
    const tools = new ProfileTools(view, column, measure);
    const undoKeys = (event) => steps(event, view.mixture);
    document.addEventListener("keydown", undoKeys);
    const dispose = () => {
      document.removeEventListener("keydown", undoKeys);
      contribution.dispose();
      measure.dispose();
    };
    return { roots: [tools.root, column.root], keys: LAYER_KEYS, actions: {}, dispose };
  },
};

export default mountOf(() => layerControls);
