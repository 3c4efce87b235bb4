// @ts-check
// Panes that a merge is held against beside its members: all of them together, the best that they could be, another alpha.

import { alphaText } from "./dom.js";
import { wishAlpha } from "./frames.js";
import { PANES, addPane } from "./pane-registry.js";

// What the server answers with is several forward passes: it is asked where somebody looks.
addPane({
  id: "e", source: "frame", network: true, optional: true, short: () => "Ensemble", title: () => "Ensemble of the members",
  wish: () => ({ key: "ensemble", mixture: "ensemble", label: "", query: "", body: null, pane: "ensemble" }),
});

// A, and the truth wherever one of the two is right: labels alone, so nothing is asked for.
addPane({
  id: "o", source: "derived", network: false, optional: true, needs: ["a", "b", "t"], offered: (view) => view.hasTruth,
  short: () => "Oracle", title: (view) => `Oracle of A and ${PANES.get("b").short(view)}`, derive: oracle,
});

// The merge at the alpha that the page holds it against.
addPane({
  id: "r", source: "frame", network: true, optional: true, offered: (view) => besideAlpha(view) !== null,
  short: (view) => `Alpha ${alphaText(besideAlpha(view) ?? 0)}`, title: (view) => `Merge at ${alphaText(besideAlpha(view) ?? 0)}`,
  wish: (view) => (besideAlpha(view) === null ? null : { ...wishAlpha(besideAlpha(view)), pane: "reference" }),
});

const besideAlpha = (view) => view.data.errors?.alpha ?? null;

const made = new WeakMap(); // the last map of a bundle, with what it was made of

/** @param {Record<string, any>} bundle */
export function oracle(bundle) {
  const { a, b, t } = bundle;
  if (!a || !b || !t || a.words.length !== t.words.length || b.words.length !== t.words.length) return null;
  const known = made.get(bundle);
  if (known && known.a === a && known.b === b && known.t === t) return known.map;
  const words = Uint32Array.from(t.words, (truth, i) => {
    const right = truth & 255;
    return right === (a.words[i] & 255) || right === (b.words[i] & 255) ? right : a.words[i] & 255;
  });
  const map = { width: a.width, height: a.height, words };
  made.set(bundle, { a, b, t, map });
  return map;
}
