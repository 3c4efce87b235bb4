// Presenting: what a key means, whose it is, and links that others wrote.

import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf, belongs, digitsOf, sameView, stepOf } from "../viewer/present.js";
import { fileName, packed } from "../viewer/takeaway.js";

test("keys of a clicker step through the story and stay within it", () => {
  for (const key of [" ", "PageDown", "ArrowRight"]) {
    assert.equal(stepOf(key, -1, 3), 0, "from no step to the first");
    assert.equal(stepOf(key, 1, 3), 2);
    assert.equal(stepOf(key, 2, 3), 2);
  }
  for (const key of ["PageUp", "ArrowLeft"]) assert.deepEqual([stepOf(key, 2, 3), stepOf(key, 0, 3)], [1, 0]);
  assert.deepEqual([stepOf("Home", 2, 3), stepOf("End", 0, 3)], [0, 2]);
  assert.equal(stepOf("m", 0, 3), null);
  assert.equal(stepOf(" ", 0, 0), null, "a story without steps takes no key");
});

test("digits name a step, two of them where there are as many", () => {
  assert.deepEqual(digitsOf("3", 7), { place: 2, whole: true });
  assert.deepEqual(digitsOf("1", 12), { place: 0, whole: false });
  assert.deepEqual(digitsOf("12", 12), { place: 11, whole: true });
  assert.equal(digitsOf("9", 7).place, null);
  assert.equal(digitsOf("0", 7).place, null);
});

// What has the focus, by the selectors that it matches.
const focus = (...names) => ({ matches: (selector) => names.some((name) => selector.split(", ").some((one) => one === name || one.startsWith(`${name}:`))) });

test("arrows are the slider's while it has the focus, a clicker's keys are always the story's", () => {
  const slider = focus("[role=slider]");
  for (const key of ["ArrowRight", "ArrowLeft", "Home", "End"]) assert.ok(belongs(key, slider) && !belongs(key, focus()));
  for (const key of ["PageDown", "PageUp", "f", "Escape", "3"]) assert.ok(!belongs(key, slider), key);
  assert.ok(belongs(" ", focus("button")) && !belongs(" ", slider) && !belongs("ArrowRight", focus("button")));
  for (const key of [" ", "f", "PageDown", "3"]) assert.ok(belongs(key, focus("textarea")), key);
  assert.ok(belongs("ArrowLeft", focus("[role=img]")), "arrows walk the read-out over a picture");
});

test("a link leads to a page of this app or nowhere", () => {
  const base = "https://host/some/app/compare?a=1";
  assert.equal(addressOf("?a=x", base), "https://host/some/app/?a=x");
  assert.equal(addressOf("diagnostics?a=x", base), "https://host/some/app/diagnostics?a=x");
  for (const wrong of ["https://evil/?a", "//evil?a", "javascript:alert(1)?", "/x?a", "../x?a", "x", "?a#b", "a/b?c", null, 3, {}]) {
    assert.equal(addressOf(wrong, base), null, String(wrong));
  }
});

test("views are the same in whatever order and spelling", () => {
  assert.ok(sameView("https://h/?a=x+y&b=1", "https://h/?b=1&a=x%20y"));
  assert.ok(!sameView("https://h/?a=1", "https://h/?a=2"));
  assert.ok(!sameView("https://h/?a=1", "https://h/compare?a=1"));
});

test("names of files hold nothing that a folder or a shell takes for its own", () => {
  assert.equal(fileName("../a/b c", "Merge at 0.50"), ".._a_b_c-Merge_at_0.50");
  assert.equal(fileName("Straße<script>", "1"), "Straße_script_-1");
  assert.ok(fileName("x".repeat(500)).length <= 60);
});

test("pictures travel each with its length before it", async () => {
  const body = await packed([new Blob(["abc"]), new Blob(["d"])]);
  assert.deepEqual([...new Uint8Array(await body.arrayBuffer())], [3, 0, 0, 0, 97, 98, 99, 1, 0, 0, 0, 100]);
});
