// @ts-check
// What a mask shows of a label map. One entry, and buttons, keys, legend and panes have it.
//
// `paint(out, map, context)` writes one 32-bit colour a pixel; what it needs beside the map is in the context, null where it is not there.

import { AGREED, CONFIDENCE, RAMP_CSS, RIGHT, RIGHT_CSS, UNKNOWN, UNKNOWN_CSS, VOID, WRONG, WRONG_CSS } from "./paint.js";

/**
 * @typedef {object} LabelMap words: label | confidence << 8 | runner-up << 16, one a pixel
 * @property {number} width
 * @property {number} height
 * @property {Uint32Array} words
 * @property {Uint32Array} [doubt] entropy | margin << 8, where a lens wanted it
 *
 * @typedef {object} Context
 * @property {{colors: Uint32Array, visible: Uint8Array}} palette
 * @property {LabelMap | null} truth
 * @property {LabelMap | null} reference the map of the pane that is compared with
 *
 * @typedef {object} Lens
 * @property {string} id
 * @property {string} label
 * @property {Array<"truth" | "reference" | "doubt">} needs without one of them the classes are painted
 * @property {boolean} networks only of a network's map, not of the ground truth
 * @property {boolean} [solid] drawn without the opacity of masks
 * @property {Array<{color?: string, text: string, from?: string}>} key what its colours mean
 * @property {(out: Uint32Array, map: LabelMap, context: Context) => void} paint
 * @property {(map: LabelMap, pixel: number) => string} [says] what the read-out says in place of the runner-up
 */

/** @type {Map<string, Lens>} */
export const LENSES = new Map();

/** @param {Lens} lens */
export function addLens(lens) {
  if (LENSES.has(lens.id)) throw new Error(`lens ${lens.id} is there already`);
  LENSES.set(lens.id, lens);
}

export const lensOf = (id) => LENSES.get(id) ?? LENSES.get("mask");

addLens({ id: "mask", label: "Mask", needs: [], networks: false, key: [], paint: paintClasses });
addLens({
  id: "outline", label: "Outline", needs: [], networks: false, solid: true, key: [],
  paint: (out, map, { palette }) => {
    out.fill(0);
    paintBorders(out, map, palette, true);
  },
});
addLens({
  id: "confidence", label: "Confidence", needs: [], networks: true, key: [{ from: "0 %", color: RAMP_CSS, text: "100 %" }],
  paint: (out, { words }, { palette: { visible } }) => {
    for (let i = 0; i < words.length; i++) out[i] = visible[words[i] & 255] ? CONFIDENCE[(words[i] >>> 8) & 255] : 0;
  },
});
addLens({
  id: "errors", label: "Errors", needs: ["truth"], networks: true,
  key: [{ color: RIGHT_CSS, text: "right" }, { color: WRONG_CSS, text: "wrong" }, { color: UNKNOWN_CSS, text: "void" }],
  paint: paintErrors,
});
addLens({
  id: "disagreement", label: "Disagreement", needs: ["reference"], networks: false,
  key: [{ text: "coloured where the label differs, dim where it agrees" }],
  paint: (out, { words }, { palette: { colors }, reference }) => {
    const other = reference.words;
    for (let i = 0; i < words.length; i++) {
      const label = words[i] & 255;
      out[i] = label === (other[i] & 255) ? AGREED : colors[label];
    }
  },
});

/** @type {Lens["paint"]} */
export function paintClasses(out, { words }, { palette: { colors } }) {
  for (let i = 0; i < words.length; i++) out[i] = colors[words[i] & 255];
}

/** @type {Lens["paint"]} */
function paintErrors(out, { words }, { palette: { visible }, truth }) {
  const rights = truth.words;
  for (let i = 0; i < words.length; i++) {
    const label = words[i] & 255;
    const right = rights[i] & 255;
    if (right === VOID) out[i] = UNKNOWN;
    else if (!visible[right] && !visible[label]) out[i] = 0;
    else out[i] = label === right ? RIGHT : WRONG;
  }
}

// Both sides of a border get the line: one pixel alone vanishes when a large map is drawn small.
export function paintBorders(out, { words, width, height }, { visible, colors }, coloured) {
  const mark = (here, there) => {
    const a = words[here] & 255;
    const b = words[there] & 255;
    if (!visible[a] && !visible[b]) return;
    out[here] = coloured ? colors[a] || colors[b] : BORDER;
    out[there] = coloured ? colors[b] || colors[a] : BORDER;
  };
  for (let y = 0; y < height; y++) {
    const row = y * width;
    for (let x = 0; x < width; x++) {
      const i = row + x;
      const label = words[i] & 255;
      if (x + 1 < width && label !== (words[i + 1] & 255)) mark(i, i + 1);
      if (y + 1 < height && label !== (words[i + width] & 255)) mark(i, i + width);
    }
  }
}

const BORDER = 0xebffffff; // white, nearly opaque: 0xAABBGGRR
