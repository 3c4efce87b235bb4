// @ts-check
// The object under the pointer: pixels of one label that hang together, and their edge.

const EDGE = 0xffffffff; // white, which no class of the usual palettes has
const INNER = 0x8cffffff; // an edge alone vanishes where a large map is drawn small

// Reused from call to call and never given away: a strip asks for seven a time.
let inside = new Uint8Array(0);
let waiting = new Int32Array(0);

function room(pixels) {
  if (inside.length < pixels) [inside, waiting] = [new Uint8Array(pixels), new Int32Array(pixels)];
  inside.fill(0, 0, pixels);
}

/**
 * Pixels connected with (x, y) over their four neighbours that have its label.
 * @param {{width: number, height: number, words: Uint32Array}} map
 * @param {number} x
 * @param {number} y
 * @param {Uint32Array} out one a pixel: white at the region's edge, half of it inside, else 0
 * @returns {number} how many pixels the region has
 */
export function traceRegion({ width, height, words }, x, y, out) {
  const pixels = width * height;
  room(pixels);
  const label = words[y * width + x] & 255;
  let [count, end] = [0, 0];
  const enter = (i) => {
    if (inside[i] || (words[i] & 255) !== label) return;
    inside[i] = 1;
    waiting[end++] = i;
  };
  enter(y * width + x);
  while (count < end) {
    const i = waiting[count++];
    const column = i % width;
    if (column > 0) enter(i - 1);
    if (column + 1 < width) enter(i + 1);
    if (i >= width) enter(i - width);
    if (i + width < pixels) enter(i + width);
  }
  out.fill(0);
  for (let at = 0; at < end; at++) {
    const i = waiting[at];
    const column = i % width;
    const within = column > 0 && column + 1 < width && i >= width && i + width < pixels;
    out[i] = INNER;
    if (!within || !(inside[i - 1] && inside[i + 1] && inside[i - width] && inside[i + width])) out[i] = EDGE;
  }
  return count;
}

// One region over a picture: traced anew only where the pointer leaves it, or the map is another.
export class Region {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.count = 0;
    this.map = null;
  }

  follow(map, x, y) {
    const here = y * map.width + x;
    if (map === this.map && this.inside?.[here]) return;
    if (this.canvas.width !== map.width || this.canvas.height !== map.height) {
      Object.assign(this.canvas, { width: map.width, height: map.height });
      this.image = this.canvas.getContext("2d").createImageData(map.width, map.height);
      this.out = new Uint32Array(this.image.data.buffer);
    }
    this.count = traceRegion(map, x, y, this.out);
    this.inside = inside.slice(0, map.words.length);
    this.map = map;
    this.canvas.getContext("2d").putImageData(this.image, 0, 0);
  }
}
