// @ts-check
// What became of every labelled pixel, from the map that is compared with to this one; and pixels that a network is not sure of.

import { addLens } from "./lenses.js";
import { AGREED, UNKNOWN, UNKNOWN_CSS, VOID, colour } from "./paint.js";

// Told apart by deuteranopes and protanopes: a dark blue, a bright orange, a light yellow, a grey violet (Okabe & Ito 2008).
export const [FIXED, FIXED_CSS] = colour(0, 114, 210, 255);
export const [BROKEN, BROKEN_CSS] = colour(230, 90, 0, 255);
export const [SAME, SAME_CSS] = colour(190, 120, 180, 255);
export const [OTHER, OTHER_CSS] = colour(245, 232, 90, 255);
const RIGHT_CSS = "rgb(38,40,46)"; // as AGREED looks over a picture

// (truth, before, after): the colour of a labelled pixel.
function changed(right, before, after) {
  if (after === right) return before === right ? AGREED : FIXED;
  if (before === right) return BROKEN;
  return before === after ? SAME : OTHER;
}

addLens({
  id: "transitions", label: "Transitions", needs: ["truth", "reference"], networks: true,
  key: [
    { color: FIXED_CSS, text: "fixed" }, { color: BROKEN_CSS, text: "broken" }, { color: SAME_CSS, text: "wrong as before" },
    { color: OTHER_CSS, text: "wrong otherwise" }, { color: RIGHT_CSS, text: "right" }, { color: UNKNOWN_CSS, text: "void" },
  ],
  paint: (out, { words }, { palette: { visible }, truth, reference }) => {
    for (let i = 0; i < words.length; i++) {
      const right = truth.words[i] & 255;
      const [before, after] = [reference.words[i] & 255, words[i] & 255];
      if (right === VOID) out[i] = UNKNOWN;
      else if (!visible[right] && !visible[before] && !visible[after]) out[i] = 0;
      else out[i] = changed(right, before, after);
    }
  },
});

const PERIOD = 6; // pixels of the map from one line of the hatching to the next
const [DARK] = colour(10, 12, 16, 255);
const [PALE] = colour(255, 255, 255, 255);

// Pixels of less confidence than `sure` (0 to 1) get dark and pale diagonals, to be seen on any colour.
export function paintUnsure(out, { words, width }, sure) {
  const least = sure * 255;
  for (let i = 0; i < words.length; i++) {
    if (((words[i] >>> 8) & 255) >= least) continue;
    const place = ((i % width) + Math.floor(i / width)) % PERIOD;
    if (place < 2) out[i] = place ? PALE : DARK;
  }
}
