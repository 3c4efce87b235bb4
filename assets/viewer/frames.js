// @ts-check
// Frames: fetched, decoded to label maps, kept in a bounded cache. The newest request wins, there is never a queue.

import { alphaKey } from "./dom.js";

const CACHE_FRAMES = 200;
const CACHE_BYTES = 256 * 1024 * 1024;
const RETRIES_WHEN_STALE = 3;

// What went wrong, in three sentences: got what, needs what, do what.
export class Trouble extends Error {
  constructor(got, needs, todo) {
    super(got);
    this.got = got;
    this.needs = needs;
    this.todo = todo;
  }
}

export async function request(url, options = {}) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Trouble("no answer from the server", "the dashboard's process to be running", "check the terminal, then move the slider again");
  }
  if (response.ok || response.status === 409) return response;
  throw await troubleFrom(response);
}

async function troubleFrom(response) {
  const body = await response.json().catch(() => ({}));
  return new Trouble(
    body.got ?? `the answer ${response.status}`,
    body.needs ?? "a working frame route",
    body.do ?? "move the slider to try again",
  );
}

let scratch = null; // one context for all decoding: readback from it stays on the CPU

function scratchContext(width, height) {
  scratch ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  if (scratch.canvas.width !== width || scratch.canvas.height !== height) {
    scratch.canvas.width = width;
    scratch.canvas.height = height;
  }
  return scratch;
}

// A label map keeps the decoded pixels as they are, one 32-bit word each, so nothing is copied apart:
// label = word & 255, confidence = word >> 8 & 255, runner-up = word >> 16 & 255 (browsers run on little-endian machines).
// Colour conversion must stay off: a colour-managed label id is another class.
export async function decodeLabelMap(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  const context = scratchContext(width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const words = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
  return { width, height, words };
}

// A map that is twice as high says in its lower half how undecided the pixels of the upper one are.
export function halves({ width, height, words }) {
  const pixels = words.length / 2;
  return { width, height: height / 2, words: words.subarray(0, pixels), doubt: words.subarray(pixels) };
}

const bytesOf = ({ words, doubt }) => words.byteLength + (doubt?.byteLength ?? 0);

export class FrameCache {
  constructor() {
    this.frames = new Map(); // insertion order is the order of use
    this.bytes = 0;
  }

  get(key) {
    const frame = this.frames.get(key);
    if (!frame) return null;
    this.frames.delete(key);
    this.frames.set(key, frame);
    return frame;
  }

  set(key, frame) {
    if (this.frames.has(key)) return;
    this.frames.set(key, frame);
    this.bytes += bytesOf(frame);
    while (this.frames.size > CACHE_FRAMES || this.bytes > CACHE_BYTES) this.dropOldest();
  }

  dropOldest() {
    const [key, frame] = this.frames.entries().next().value;
    this.frames.delete(key);
    this.bytes -= bytesOf(frame);
  }
}

// Generations grow over remounts as well: the server may remember the last one of this view.
let generation = 0;
function nextGeneration() {
  generation = Math.max(generation + 1, Date.now());
  return generation;
}

// What a frame is asked of: `key` tells mixtures apart, `mixture` and `label` name this one, `query` and `body` travel.
export const wishAlpha = (alpha) =>
  ({ key: alphaKey(alpha), mixture: alphaKey(alpha), label: `Merge at ${alpha.toFixed(2)}`, query: `alpha=${alphaKey(alpha)}&`, body: null });

// A checkpoint by itself: no end of the curve, where the buffer policy may give it other statistics.
export const wishAlone = (letter) => ({ key: `alone-${letter}`, mixture: letter, label: "", query: "", body: null, pane: letter });

// A frame that the server had kept tells the times of its making: parts larger than the whole are another answer's.
export function partsOf(ms = {}, took = 0) {
  const spent = Object.values(ms).reduce((sum, part) => sum + part, 0);
  return spent <= took ? ms : {};
}

export async function fetchFrame(job, pane, signal) {
  const url = `${job.base}/frame/${job.index}?${job.query}gen=${nextGeneration()}&pane=${job.pane ?? pane}`;
  const options = job.body ? { method: "POST", body: job.body, headers: { "Content-Type": "application/json" } } : {};
  const response = await request(url, { ...options, signal });
  if (response.status === 409) return null;
  const scores = JSON.parse(response.headers.get("X-Fusion") ?? "{}");
  const map = await decodeLabelMap(await response.blob());
  return { ...(job.doubt ? halves(map) : map), scores, mixture: job.mixture, label: job.label, took: 0 };
}

// One lane a pane: at most one request in flight, and after it only the newest wish.
export class Lane {
  constructor(pane, cache, onFrame, onTrouble) {
    this.pane = pane;
    this.cache = cache;
    this.onFrame = onFrame;
    this.onTrouble = onTrouble;
    this.order = 0; // number of the newest wish
    this.shown = 0; // number of the newest wish that was answered
    this.wish = null;
    this.flight = null;
  }

  want(base, index, wish) {
    const job = { ...wish, base, index, order: ++this.order, key: `${base}/${index}/${wish.key}` };
    this.stale = 0;
    if (this.flight && (this.flight.base !== base || this.flight.index !== index)) this.flight.controller.abort();
    const frame = this.cache.get(job.key);
    this.wish = frame ? null : job;
    if (frame) this.show(frame, { ...job, cached: true });
    else if (!this.flight) this.run();
  }

  show(frame, job) {
    if (job.order <= this.shown) return;
    this.shown = job.order;
    this.onFrame(frame, job);
  }

  async run() {
    while (this.wish) {
      const job = this.wish;
      this.wish = null;
      this.flight = { ...job, controller: new AbortController() };
      await this.fly(job, this.flight.controller.signal);
    }
    this.flight = null;
  }

  async fly(job, signal) {
    const started = performance.now();
    try {
      const frame = await fetchFrame(job, this.pane, signal);
      if (!frame) return await this.superseded(job);
      frame.took = performance.now() - started;
      this.cache.set(job.key, frame);
      if (!signal.aborted) this.show(frame, job);
    } catch (error) {
      if (!signal.aborted) this.onTrouble(error, job);
    }
  }

  // Another window on the same view may have asked later; our newest wish is still ours to fulfil, but not forever.
  async superseded(job) {
    if (this.wish || job.order !== this.order || this.stale++ >= RETRIES_WHEN_STALE) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (!this.wish && job.order === this.order) this.wish = job;
  }

  stop() {
    this.wish = null;
    this.flight?.controller.abort();
  }
}
