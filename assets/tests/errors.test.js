// What became of pixels: the lens, the oracle, the outline, the hatching, on maps of 2 x 4 made by hand.

import assert from "node:assert/strict";
import { test } from "node:test";

import { halves } from "../viewer/frames.js";
import { serves, wishFor } from "../viewer/lenses-doubt.js";
import { BROKEN, FIXED, OTHER, SAME, paintUnsure } from "../viewer/lenses-errors.js";
import { LENSES } from "../viewer/lenses.js";
import { DEFAULTS, readLook, writeLook } from "../viewer/look.js";
import { outlineOf } from "../viewer/overlay.js";
import { AGREED, CONFIDENCE, Palette, UNKNOWN } from "../viewer/paint.js";
import { PANES } from "../viewer/pane-registry.js";
import { oracle } from "../viewer/panes-errors.js";
import { traceRegion } from "../viewer/region.js";
import { View } from "../viewer/state.js";
import { ALPHAS } from "../viewer/strip.js";

const map = (...labels) => ({ width: 4, height: 2, words: new Uint32Array(labels) });
const truth = map(0, 0, 0, 0, 1, 1, 255, 2);
const before = map(0, 1, 0, 1, 2, 0, 0, 2);
const after = map(0, 0, 1, 1, 0, 1, 1, 2);

function palette(hidden = []) {
  const made = new Palette();
  made.update([0, 1, 2].map((id) => ({ id, color: "#102030" })), hidden);
  return made;
}

test("every labelled pixel is fixed, broken, wrong as before, wrong otherwise or right", () => {
  const out = new Uint32Array(8);
  const paint = (hidden) => LENSES.get("transitions").paint(out, after, { palette: palette(hidden), truth, reference: before });
  paint();
  assert.deepEqual([...out], [AGREED, FIXED, BROKEN, SAME, OTHER, FIXED, UNKNOWN, AGREED]);
  assert.equal(new Set([AGREED, FIXED, BROKEN, SAME, OTHER, UNKNOWN]).size, 6);
  paint([2]);
  assert.equal(out[7], 0, "what is hidden in truth and both maps is bare");
  assert.equal(out[4], OTHER, "hidden in one map alone is still a change");
  assert.deepEqual(LENSES.get("transitions").needs, ["truth", "reference"]);
});

test("the oracle is A, and the truth wherever A or B is right", () => {
  const bundle = { a: before, b: after, t: truth };
  const made = oracle(bundle);
  assert.deepEqual([...made.words], [0, 0, 0, 1, 2, 1, 0, 2]);
  assert.equal(oracle(bundle), made, "made once of the same maps");
  assert.notEqual(oracle({ ...bundle, b: before }), made);
  bundle.b = before;
  assert.equal(oracle(bundle).words[1], 1, "and anew of others");
  assert.equal(oracle({ a: before, b: null, t: truth }), null);
  assert.equal(oracle({ a: before, b: after, t: { width: 1, height: 1, words: new Uint32Array(1) } }), null);
});

test("the chosen pixels stay bare, with a white line and a dark one around them", () => {
  const words = new Uint32Array(7 * 7);
  words[3 * 7 + 3] = 255;
  const { out, count } = outlineOf({ width: 7, height: 7, words });
  assert.equal(count, 1);
  const at = (x, y) => out[y * 7 + x];
  assert.deepEqual([at(3, 3), at(4, 4), at(2, 3), at(5, 3), at(1, 1), at(6, 3)], [0, 0xffffffff, 0xffffffff, 0xff000000, 0xff000000, 0x78101010]);
  assert.equal(outlineOf({ width: 2, height: 1, words: new Uint32Array(2) }).count, 0);
  words.fill(0);
  words[6] = 255; // the corner: nothing runs over into the next row
  assert.equal(outlineOf({ width: 7, height: 7, words }).out[7], 0x78101010);
});

test("pixels of less confidence are hatched, others are left", () => {
  const words = new Uint32Array(12).fill(100 << 8);
  words[1] = 200 << 8;
  const out = new Uint32Array(12).fill(7);
  paintUnsure(out, { width: 12, height: 1, words }, 0.5);
  assert.equal(out[1], 7, "sure");
  assert.notEqual(out[0], 7);
  assert.notEqual(out[0], out[7], "dark and pale");
  assert.deepEqual([out[2], out[5], out[8]], [7, 7, 7], "and bare between the lines");
});

const data = { index: 0, name: "", count: 1, look: "", labelled: true, alpha: 0.5, a: { name: "A" }, b: { name: "B" }, classes: [] };

test("what costs forward passes is asked for only where somebody looks at it", () => {
  const view = new View(data, () => {}, () => ({ wish: () => null }));
  const uses = (patch, pane) => {
    view.settings = { ...structuredClone(DEFAULTS), ...patch };
    return view.uses(pane);
  };
  assert.ok(PANES.get("e").optional && PANES.get("o").optional);
  assert.equal(uses({ reference: "e" }, "e"), false);
  assert.equal(uses({ reference: "e", lens: "transitions" }, "e"), true);
  assert.equal(uses({ shown: ["m", "e"] }, "e"), true);
  assert.equal(uses({ shown: ["m", "e"], layout: "wipe" }, "e"), false);
  assert.equal(uses({ shown: ["m", "o"] }, "b"), true, "the oracle is made of A, B and the truth");
});

test("a lens of doubt asks for a map of its own, and both halves of it are told apart", () => {
  const wish = { key: "0.500", mixture: "0.500", query: "alpha=0.500&", body: null };
  assert.equal(wishFor("mask", wish), wish);
  assert.deepEqual(wishFor("entropy", wish), { ...wish, key: "0.500+doubt", query: "alpha=0.500&doubt=1&", doubt: true });
  assert.equal(wishFor("margin", null), null);
  const both = halves({ width: 1, height: 4, words: Uint32Array.of(1, 2, 0x0000ff00, 0x000000ff) });
  assert.deepEqual([both.height, [...both.words], [...both.doubt]], [2, [1, 2], [0xff00, 0xff]]);
  assert.equal(serves(both, "entropy"), true);
  assert.equal(serves({ words: both.words }, "entropy"), false);
  const [out, visible] = [new Uint32Array(2), new Uint8Array(256).fill(1)];
  for (const [id, sure] of [["entropy", 255], ["margin", 255]]) {
    LENSES.get(id).paint(out, both, { palette: { visible, colors: null }, truth: null, reference: null });
    assert.equal(out[0], CONFIDENCE[sure], id); // no entropy, all of the margin
    assert.equal(out[1], CONFIDENCE[0], id);
  }
  assert.equal(LENSES.get("entropy").says(both, 1), "entropy 1.00 log C");
  assert.equal(LENSES.get("margin").says(both, 0), "margin 100 %");
});

test("another alpha is a pane only where the page has one, and what is sure is part of the look", () => {
  const view = new View(data, () => {}, () => ({ wish: () => null }));
  assert.ok(!view.panes().includes("r"));
  view.data = { ...data, errors: { alpha: 0.25 } };
  assert.ok(view.panes().includes("r"));
  assert.equal(PANES.get("r").wish(view).query, "alpha=0.250&");
  assert.equal(PANES.get("r").short(view), "Alpha 0.25");
  const look = { ...structuredClone(DEFAULTS), sure: 0.5, lens: "transitions", shown: ["m", "e", "o"], reference: "o" };
  assert.deepEqual(readLook(writeLook(look)), look);
  assert.deepEqual(readLook("sure-1.5~sure-x"), DEFAULTS);
  assert.deepEqual(ALPHAS, [0, 0.167, 0.333, 0.5, 0.667, 0.833, 1]);
});

test("the object under the pointer is what hangs together over four neighbours", () => {
  const one = map(1, 1, 0, 1, 1, 0, 0, 1);
  const out = new Uint32Array(8);
  assert.equal(traceRegion(one, 0, 0, out), 3);
  assert.deepEqual([...out].map(Boolean), [true, true, false, false, true, false, false, false]);
  assert.equal(traceRegion(one, 3, 1, out), 2, "not over a corner");
  const full = { width: 4, height: 4, words: new Uint32Array(16).fill(7) };
  const edge = new Uint32Array(16);
  assert.equal(traceRegion(full, 2, 2, edge), 16);
  assert.equal([...edge].filter((word) => word === 0xffffffff).length, 12, "its inside is paler");
});
