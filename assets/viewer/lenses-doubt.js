// @ts-check
// How undecided a network is: entropy of all its classes, and the margin between the two best. Both take the colours of
// confidence, so that bright is sure.

import { addLens, lensOf } from "./lenses.js";
import { CONFIDENCE, RAMP_CSS } from "./paint.js";

const entropyOf = (word) => word & 255;
const marginOf = (word) => (word >>> 8) & 255;

/** @returns {import("./lenses.js").Lens["paint"]} */
const ramp = (sure) => (out, { words, doubt }, { palette: { visible } }) => {
  for (let i = 0; i < words.length; i++) out[i] = visible[words[i] & 255] ? CONFIDENCE[sure(doubt[i])] : 0;
};

addLens({
  id: "entropy", label: "Entropy", needs: ["doubt"], networks: true, key: [{ from: "log C", color: RAMP_CSS, text: "0" }],
  paint: ramp((word) => 255 - entropyOf(word)),
  says: ({ doubt }, i) => `entropy ${(entropyOf(doubt[i]) / 255).toFixed(2)} log C`,
});
addLens({
  id: "margin", label: "Margin", needs: ["doubt"], networks: true, key: [{ from: "0 %", color: RAMP_CSS, text: "100 %" }],
  paint: ramp(marginOf),
  says: ({ doubt }, i) => `margin ${Math.round(marginOf(doubt[i]) / 2.55)} %`,
});

export const doubts = (lens) => lensOf(lens).needs.includes("doubt");

// The wish with what the lens needs beside labels; a map of its own, as the server looks again.
export const wishFor = (lens, wish) =>
  wish && doubts(lens) ? { ...wish, key: `${wish.key}+doubt`, query: `${wish.query}doubt=1&`, doubt: true } : wish;

// Whether a map says all that the lens needs of a network.
export const serves = (map, lens) => Boolean(map) && (!doubts(lens) || Boolean(map.doubt));
