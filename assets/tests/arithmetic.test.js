// The arithmetic of the viewer: weights on the simplex, points of a curve, the frame cache.

import assert from "node:assert/strict";
import { test } from "node:test";

import { alone, onSimplex, withShare } from "../layers/profile.js";
import { answering, wishTogether } from "../viewer/learners.js";
import { DEFAULTS, readLook, writeLook } from "../viewer/look.js";
import { LENSES, addLens } from "../viewer/lenses.js";
import { TOLD_APART, coloured, paintPatterns } from "../viewer/palettes.js";
import { PANES, addPane } from "../viewer/pane-registry.js";
import { Palette, RIGHT, UNKNOWN, WRONG } from "../viewer/paint.js";
import { FrameCache, partsOf, wishAlpha } from "../viewer/frames.js";
import { Method, sharedOut } from "../viewer/method.js";
import { lacking } from "../viewer/sweepcard.js";
import { Sweep } from "../viewer/sweep.js";

const sum = (row) => row.reduce((total, weight) => total + weight, 0);

test("moving one weight leaves the others in their proportions and the sum at 1", () => {
  for (const row of [[0.5, 0.5], [0.2, 0.3, 0.5], [1, 0, 0], [0, 0, 1, 0]]) {
    for (let place = 0; place < row.length; place += 1) {
      for (const value of [0, 0.25, 0.5, 1]) {
        for (const next of [sharedOut(row, place, value), withShare(row, place, value)]) {
          assert.ok(Math.abs(sum(next) - 1) < 1e-9, `${row} ${place} ${value}`);
          assert.ok(next.every((weight) => weight >= 0));
          assert.equal(next[place], value);
        }
      }
    }
  }
  const [, b, c] = sharedOut([0.4, 0.2, 0.4], 0, 0.1);
  assert.ok(Math.abs(c / b - 2) < 1e-9);
});

test("rows off the simplex come onto it in steps of a ten-thousandth", () => {
  assert.deepEqual(onSimplex([2, 2]), [0.5, 0.5]);
  assert.deepEqual(onSimplex([0, 0, 0, 0]), [0.25, 0.25, 0.25, 0.25]);
  const third = onSimplex([1, 1, 1]);
  assert.ok(Math.abs(sum(third) - 1) < 1e-9 && third.every((weight) => Math.abs(weight * 1e4 - Math.round(weight * 1e4)) < 1e-6));
  assert.deepEqual(alone(3, 1), [0, 1, 0]);
});

function sweepOf(points) {
  const sweep = Object.create(Sweep.prototype);
  return Object.assign(sweep, { points, answer: {}, view: { members: [{ miou: 0.1 }, { miou: 0.2 }] } });
}

const point = (alpha, miou) => ({ alpha, miou, pixel_accuracy: miou, loss: 1 - miou });

test("between measured points the curve is straight, and over a wide gap there is none", () => {
  const sweep = sweepOf([point(0, 0.2), point(0.5, 0.4), point(1, 0.3)]);
  assert.deepEqual(sweep.at(0.5, "miou"), { value: 0.4, between: null });
  assert.ok(Math.abs(sweep.at(0.25, "miou").value - 0.3) < 1e-12);
  assert.deepEqual(sweep.at(0.75, "miou").between, [0.5, 1]);
  assert.equal(sweepOf([point(0, 0.2), point(1, 0.3)]).at(0.5, "miou"), null);
  assert.equal(sweep.between(0.5), null);
  assert.ok(Math.abs(sweep.between(0.25).loss - 0.7) < 1e-12);
});

test("the best point is the highest mIoU and the lowest loss", () => {
  const sweep = sweepOf([point(0, 0.2), point(0.5, 0.4), point(1, null)]);
  assert.equal(sweep.best("pixel_accuracy").alpha, 0.5);
  assert.equal(sweep.best("loss").alpha, 0.5);
  assert.equal(sweep.end("b", "miou"), 0.2);
});

test("the cache forgets what was used longest ago", () => {
  const cache = new FrameCache();
  const frame = () => ({ words: new Uint32Array(4) });
  for (let number = 0; number < 200; number += 1) cache.set(`f${number}`, frame());
  cache.get("f0");
  cache.set("new", frame());
  assert.ok(cache.get("f0") && cache.get("new"));
  assert.equal(cache.get("f1"), null);
  assert.equal(cache.bytes, 200 * 16);
});

test("a method asks for what is set, and for nothing before it is ready", () => {
  const events = [];
  const view = { emit: (name) => events.push(name), release: () => method.released() };
  const control = { method: "slerp", title: "SLERP", live: true, ready: true, values: { alpha: 0.5 }, figures: { miou: 0.3 } };
  let method = new Method(view, control);
  assert.deepEqual(JSON.parse(method.wish().body), { method: "slerp", parameters: { alpha: 0.5 } });
  assert.equal(method.measured().point.miou, 0.3);
  method.set("alpha", 0.25);
  assert.deepEqual(events, ["mixture"]);
  assert.equal(method.measured(), null, "figures of another merge are not this one's");
  assert.deepEqual(control.values, { alpha: 0.5 });
  method = new Method(view, { ...control, live: false });
  method.set("alpha", 0.1);
  assert.deepEqual(events, ["mixture"], "several networks are asked for at the release");
  method.release();
  assert.deepEqual(events, ["mixture", "mixture"]);
  assert.equal(new Method(view, { ...control, ready: false }).wish(), null);
});

test("learners are asked for where somebody has chosen some, and all of them beside a pane of one", () => {
  const inside = { names: ["d2", "d3", "d4"], fusions: [{ name: "average" }, { name: "majority:heads" }], own: "average" };
  const view = (silent, fusion, pane = "", data = { inside }) => ({ data, settings: { silent, fusion }, uses: (id) => id === pane });
  const wish = wishAlpha(0.5);
  assert.equal(wishTogether(view([], ""), wish), wish);
  assert.equal(wishTogether(view([1], "", "", { inside: null }), wish), wish, "no other network has any");
  assert.equal(wishTogether(view([1], ""), wish).query, "alpha=0.500&learners=0,2&");
  assert.equal(wishTogether(view([1], ""), wish).label, "Merge at 0.50, d2+d4", "the pane says who answers");
  assert.equal(wishTogether(view([], "", "l1"), wish).query, "alpha=0.500&learners=0,1,2&");
  assert.equal(wishTogether(view([], "majority:heads"), wish).query, "alpha=0.500&learners=0,1,2&fusion=majority%3Aheads&");
  assert.equal(wishTogether(view([], "hierarchical"), wish), wish, "the network was not trained with it");
  assert.deepEqual(answering(view([0, 1, 2], "")), [0, 1, 2], "one at least");
  assert.notEqual(wishTogether(view([1], ""), wish).key, wishTogether(view([2], ""), wish).key);
});

test("an alpha is asked for with three digits", () => {
  assert.equal(wishAlpha(0.1 + 0.2).query, "alpha=0.300&");
  assert.equal(wishAlpha(1).label, "Merge at 1.00");
});

test("a look is one text that an address carries as it is, and what somebody else wrote is taken where it makes sense", () => {
  const look = { ...structuredClone(DEFAULTS), lens: "errors", layout: "wipe", split: 0.25, hidden: [3, 11], zoom: { scale: 2.5, x: 0.1, y: 0.2 }, metric: "loss", shown: ["m"], silent: [1, 3], fusion: "majority:heads" };
  const text = writeLook(look);
  assert.equal(encodeURIComponent(text), text);
  assert.deepEqual(readLook(text), look);
  assert.deepEqual(readLook(""), DEFAULTS);
  assert.deepEqual(readLook(undefined), DEFAULTS);
  for (const wrong of ["lens-none", "opacity-7", "opacity--1", "zoom-1_2", "zoom-0.5_0_0", "hidden-x_300_-1", "__proto__-1", "shown-q", "layout-", "split-1e9", "~~~", "lens", "silent-9", "fusion-A+"]) {
    assert.deepEqual(readLook(wrong), DEFAULTS, wrong);
  }
  assert.deepEqual(readLook("zoom-2_0.9_0.9").zoom, { scale: 2, x: 0.5, y: 0.5 }, "a zoom stays within the picture");
  assert.ok(writeLook(DEFAULTS).includes("opacity-0.65"), "defaults are said too");
});

test("every pane and every lens says what it is", () => {
  assert.deepEqual([...PANES.keys()].slice(0, 4), ["a", "m", "b", "t"]);
  for (const kind of PANES.values()) {
    assert.ok(typeof kind.short === "function" && typeof kind.title === "function");
    assert.equal(typeof { frame: kind.wish, derived: kind.derive, truth: () => {} }[kind.source], "function", kind.id);
    for (const needed of kind.needs ?? []) assert.ok(PANES.has(needed));
  }
  assert.throws(() => addPane(PANES.get("a")));
  assert.throws(() => addLens(LENSES.get("mask")));
  const words = new Uint32Array([0 | (200 << 8), 1, 255, 1]);
  const map = { width: 2, height: 2, words };
  const palette = new Palette();
  palette.update([{ id: 0, color: "#102030" }, { id: 1, color: "#ffffff" }], []);
  const other = { width: 2, height: 2, words: new Uint32Array([0, 0, 0, 255]) };
  for (const lens of LENSES.values()) {
    const out = new Uint32Array(4).fill(7);
    lens.paint(out, map, { palette, truth: other, reference: other });
    assert.ok(!out.includes(7) || lens.id === "outline", `${lens.id} paints every pixel`);
  }
  const out = new Uint32Array(4);
  LENSES.get("mask").paint(out, map, { palette, truth: null, reference: null });
  assert.deepEqual([...out], [0xff302010, 0xffffffff, 0, 0xffffffff]);
  LENSES.get("errors").paint(out, map, { palette, truth: other, reference: null });
  assert.deepEqual([...out], [RIGHT, WRONG, WRONG, UNKNOWN]);
});

test("what a curve lacks is counted by its grid", () => {
  const sweep = sweepOf([point(0, 0.2), point(0.5, 0.4), point(1, 0.3)]);
  assert.equal(lacking(sweep, 0.1), 8);
  assert.equal(lacking(sweep, 0.5), 0);
  assert.equal(lacking(sweepOf([]), 0.025), 41);
});

// A deuteranope's view of a colour, in linear light: Vienot, Brettel and Mollon 1999.
function deuteranope([red, green, blue]) {
  const linear = [red, green, blue].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  const [r, g, b] = linear;
  return [0.29275 * r + 0.70725 * g, 0.29275 * r + 0.70725 * g, -0.02234 * r + 0.02234 * g + b];
}

const rgbOf = (color) => [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
const apart = (one, other) => Math.hypot(...deuteranope(rgbOf(one)).map((value, place) => Math.cbrt(value) - Math.cbrt(deuteranope(rgbOf(other))[place])));

test("no two of forty classes look the same to a deuteranope, by colour or by pattern", () => {
  const classes = Array.from({ length: TOLD_APART }, (_, id) => ({ id, name: `class ${id}`, color: "#808000" }));
  const drawn = coloured(classes, "safe");
  for (const [place, one] of drawn.entries()) {
    for (const other of drawn.slice(place + 1)) assert.ok(one.on !== other.on || apart(one.color, other.color) > 0.08, `${one.name} ${one.color} and ${other.name} ${other.color}`);
  }
  assert.equal(new Set(drawn.map(({ css }) => css)).size, TOLD_APART, "every swatch is another");
  assert.deepEqual(coloured(classes, "own").map(({ color, on }) => [color, on]), classes.map(({ color }) => [color, null]));
});

test("a pattern is drawn where the class is painted in its own colour, and nowhere else", () => {
  const classes = Array.from({ length: 10 }, (_, id) => ({ id, name: "", color: "#000000" }));
  const palette = new Palette();
  palette.update(coloured(classes, "safe"), []);
  assert.ok(palette.patterned);
  const words = new Uint32Array(64).fill(9); // a class with diagonals
  words.fill(0, 0, 8);
  const map = { width: 8, height: 8, words };
  const out = new Uint32Array(64);
  LENSES.get("mask").paint(out, map, { palette, truth: null, reference: null });
  out[60] = 7; // painted by something else
  paintPatterns(out, map, palette);
  assert.equal(out[60], 7);
  assert.equal(new Set(out.subarray(0, 8)).size, 1, "the first eight classes have no pattern");
  assert.deepEqual(new Set(out.subarray(8, 56)), new Set([palette.colors[9], palette.lines[9]]));
  palette.update(coloured(classes, "own"), []);
  assert.equal(palette.patterned, false);
});

test("parts of a time are those of this answer, or none", () => {
  assert.deepEqual(partsOf({ merge: 4, forward: 40, encode: 3 }, 60), { merge: 4, forward: 40, encode: 3 });
  assert.deepEqual(partsOf({ merge: 168, forward: 900, encode: 3 }, 138), {}, "a frame that was kept");
  assert.deepEqual(partsOf(undefined, 10), {});
});
