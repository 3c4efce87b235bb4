// Marked regions: boxes from corners, who is hit by a click, where they are drawn, and the link of a view.

import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULTS, readLook, writeLook } from "../viewer/look.js";
import { addressOf, boxOf, linkOf, placed, smallestAt, within } from "../viewer/marks-geometry.js";

test("a box has its corners in any order and ends at the picture's edge", () => {
  const box = [0.2, 0.1, 0.3, 0.4];
  for (const [one, other] of [[[0.2, 0.1], [0.5, 0.5]], [[0.5, 0.1], [0.2, 0.5]], [[0.5, 0.5], [0.2, 0.1]]]) {
    assert.deepEqual(boxOf({ u: one[0], v: one[1] }, { u: other[0], v: other[1] }), box);
  }
  assert.deepEqual(boxOf({ u: -3, v: 0.25 }, { u: 0.5, v: 7 }), [0, 0.25, 0.5, 0.75]);
  assert.deepEqual(boxOf({ u: 1 / 3, v: 0 }, { u: 1, v: 1 }), [0.333333, 0, 0.666667, 1]);
  assert.deepEqual(boxOf({ u: 0.4, v: 0.4 }, { u: 0.4, v: 0.4 }), [0.4, 0.4, 0, 0]);
});

test("an ellipse has no corners, a rectangle has", () => {
  const box = [0.25, 0.25, 0.5, 0.25];
  for (const [u, v, rectangle, ellipse] of [[0.5, 0.375, true, true], [0.25, 0.375, true, true], [0.26, 0.26, true, false], [0.75, 0.5, true, false], [0.5, 0.51, false, false]]) {
    assert.equal(within({ shape: "rectangle", box }, { u, v }), rectangle);
    assert.equal(within({ shape: "ellipse", box }, { u, v }), ellipse);
  }
});

test("a click is on the smallest region around it", () => {
  const [large, small, round] = [
    { id: "large", shape: "rectangle", box: [0, 0, 1, 1] }, { id: "small", shape: "rectangle", box: [0.4, 0.4, 0.2, 0.2] }, { id: "round", shape: "ellipse", box: [0.4, 0.4, 0.2, 0.21] },
  ];
  for (const marks of [[large, small, round], [round, small, large]]) {
    assert.equal(smallestAt(marks, { u: 0.5, v: 0.5 }), round, "its area counts, not its box");
    assert.equal(smallestAt(marks, { u: 0.41, v: 0.41 }), small);
    assert.equal(smallestAt(marks, { u: 0.9, v: 0.9 }), large);
  }
  assert.equal(smallestAt([small], { u: 0.1, v: 0.5 }), null);
});

test("a region is drawn where the zoomed picture has it", () => {
  assert.deepEqual(placed([0.5, 0.25, 0.25, 0.5], -100, -40, 400, 200), { x: 100, y: 10, width: 100, height: 100 });
});

test("a link is relative, one segment and a query, or nothing", () => {
  assert.equal(linkOf({ pathname: "/prefix/errors", search: "?a=x y&look=lens-mask~zoom-2_0_0" }), "errors?a=x+y&look=lens-mask%7Ezoom-2_0_0");
  assert.equal(linkOf({ pathname: "/", search: "" }), "");
  assert.equal(linkOf({ pathname: "/", search: "?profile={\"<" }), "?profile=%7B%22%3C");
  assert.equal(linkOf({ pathname: "/layers", search: `?profile=${"x".repeat(5000)}` }), "");
  assert.equal(addressOf("errors?a=1"), "./errors?a=1");
  assert.equal(addressOf("?a=1"), "./?a=1");
  for (const none of ["", "javascript:alert(1)", "//elsewhere", "../x", null]) assert.equal(addressOf(none), null);
});

test("whether marks are drawn is part of the look", () => {
  assert.ok(writeLook(DEFAULTS).includes("~marks-1"));
  assert.equal(readLook(writeLook({ ...DEFAULTS, marks: false })).marks, false);
  assert.equal(readLook("marks-2").marks, true);
});
