// @ts-check
// What can be shown beside the merge. One entry, and panes, buttons, selectors, read-out and loader have it.
//
// A pane's label map comes from one of three sources:
//   "frame"    the server is asked for it: `wish(view)` says of what; `follows` the mixture while it is dragged, or not
//   "truth"    it comes with the picture
//   "derived"  `derive(bundle)` makes it of the maps of the panes that it `needs`

import { wishAlone } from "./frames.js";

/**
 * @typedef {object} PaneKind
 * @property {string} id
 * @property {(view: any) => string} short on buttons and in selectors
 * @property {(view: any) => string} title above its picture
 * @property {"frame" | "truth" | "derived"} source
 * @property {boolean} network whether its map has confidences
 * @property {boolean} [follows]
 * @property {boolean} [optional] not there before somebody asks for it
 * @property {string[]} [needs]
 * @property {(view: any) => any} [wish]
 * @property {(bundle: any) => any} [derive]
 * @property {(view: any) => boolean} [offered]
 */

/** @type {Map<string, PaneKind>} */
export const PANES = new Map();

export const LETTERS = "abcdefgh"; // checkpoints by their place, as the server calls them

/** @param {PaneKind} kind */
export function addPane(kind) {
  if (PANES.has(kind.id)) throw new Error(`pane ${kind.id} is there already`);
  PANES.set(kind.id, kind);
}

// A checkpoint by itself, called by its letter: the second one may be any but A.
const checkpoint = (id) => ({
  id,
  source: "frame",
  network: true,
  short: (view) => view.letterOf(id).toUpperCase(),
  title: (view) => `${view.letterOf(id).toUpperCase()}  ${view.memberOf(id).name}`,
  wish: (view) => wishAlone(view.letterOf(id)),
});

addPane(/** @type {PaneKind} */ (checkpoint("a")));
addPane({ id: "m", source: "frame", network: true, follows: true, short: () => "Merge", title: () => "Merge", wish: (view) => view.wish() });
addPane(/** @type {PaneKind} */ (checkpoint("b")));
addPane({ id: "t", source: "truth", network: false, short: () => "Truth", title: () => "Ground truth", offered: (view) => view.hasTruth });

// The label map of a pane in a bundle: what belongs to one picture.
export function mapOf(id, bundle) {
  if (!bundle) return null;
  const kind = PANES.get(id);
  return kind.source === "derived" ? kind.derive(bundle) : bundle[id];
}

export const framed = () => [...PANES.values()].filter((kind) => kind.source === "frame");
