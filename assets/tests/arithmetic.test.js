// The arithmetic of the viewer: weights on the simplex, points of a curve, the frame cache.

import assert from "node:assert/strict";
import { test } from "node:test";

import { alone, onSimplex, withShare } from "../layers/profile.js";
import { FrameCache, wishAlpha } from "../viewer/frames.js";
import { Method, sharedOut } from "../viewer/method.js";
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
  const view = { emit: (name) => events.push(name), release: () => events.push("release") };
  const control = { method: "slerp", title: "SLERP", live: true, ready: true, values: { alpha: 0.5 }, figures: { miou: 0.3 } };
  const method = new Method(view, control);
  assert.deepEqual(JSON.parse(method.wish().body), { method: "slerp", parameters: { alpha: 0.5 } });
  assert.equal(method.measured().point.miou, 0.3);
  method.set("alpha", 0.25);
  assert.deepEqual(events, ["mixture"]);
  assert.equal(method.measured(), null, "figures of another merge are not this one's");
  assert.deepEqual(control.values, { alpha: 0.5 });
  const slow = new Method(view, { ...control, live: false });
  slow.set("alpha", 0.1);
  assert.deepEqual(events, ["mixture"], "several networks are asked for at the release");
  slow.release();
  assert.deepEqual(events, ["mixture", "mixture", "release"]);
  assert.equal(new Method(view, { ...control, ready: false }).wish(), null);
});

test("an alpha is asked for with three digits", () => {
  assert.equal(wishAlpha(0.1 + 0.2).query, "alpha=0.300&");
  assert.equal(wishAlpha(1).label, "Merge at 1.00");
});
