// @ts-check
// Label maps to coloured pixels, by table, into memory that is allocated once a size.
//
// A colour is one 32-bit word 0xAABBGGRR, the order in which ImageData lies in memory.

export const VOID = 255;
export const [RIGHT, RIGHT_CSS] = colour(38, 166, 154, 150);
export const [WRONG, WRONG_CSS] = colour(240, 90, 60, 255);
export const UNKNOWN = word(16, 18, 22, 190);
export const UNKNOWN_CSS = "rgb(70,74,82)"; // as it looks over a picture
export const AGREED = word(16, 18, 22, 170);

// Dark violet over teal to pale yellow: lightness grows steadily, so it reads without colour vision too.
const RAMP = [[52, 18, 82], [58, 70, 134], [38, 124, 142], [64, 176, 118], [158, 214, 70], [250, 232, 92]];

export function word(red, green, blue, alpha) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

// As a pixel, and in a key.
export function colour(red, green, blue, alpha) {
  return /** @type {[number, string]} */ ([word(red, green, blue, alpha), `rgb(${red},${green},${blue})`]);
}

function rampTable() {
  const table = new Uint32Array(256);
  for (let level = 0; level < 256; level++) {
    const place = (level / 255) * (RAMP.length - 1);
    const low = Math.min(RAMP.length - 2, Math.floor(place));
    const mix = (channel) => Math.round(RAMP[low][channel] + (place - low) * (RAMP[low + 1][channel] - RAMP[low][channel]));
    table[level] = word(mix(0), mix(1), mix(2), 255);
  }
  return table;
}

export const CONFIDENCE = rampTable();
export const RAMP_CSS = `linear-gradient(90deg, ${RAMP.map((rgb) => `rgb(${rgb.join(",")})`).join(", ")})`;

function parseColor(color) {
  const value = Number.parseInt(String(color).replace("#", ""), 16) || 0;
  return word((value >> 16) & 255, (value >> 8) & 255, value & 255, 255);
}

// Which classes are drawn and how. A hidden class and void are fully transparent: the bare picture shows.
export class Palette {
  constructor() {
    this.colors = new Uint32Array(256);
    this.visible = new Uint8Array(256);
    this.lines = new Uint32Array(256);
    /** @type {Array<((x: number, y: number) => boolean) | null>} */
    this.patterns = Array(256).fill(null);
    this.patterned = false;
  }

  update(classes, hidden) {
    this.colors.fill(0);
    this.visible.fill(1);
    this.patterns.fill(null);
    this.patterned = classes.some(({ on }) => on);
    for (const { id, color, line, on } of classes) {
      this.colors[id] = parseColor(color);
      this.lines[id] = line ?? 0;
      this.patterns[id] = on ?? null;
    }
    for (const id of hidden) {
      this.colors[id] = 0;
      this.visible[id] = 0;
      this.patterns[id] = null;
    }
    this.visible[VOID] = 0;
    this.colors[VOID] = 0;
  }
}
