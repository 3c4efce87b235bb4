// Label maps to coloured pixels, by table, into memory that is allocated once a size.
//
// A colour is one 32-bit word 0xAABBGGRR, the order in which ImageData lies in memory.

const VOID = 255;
const RIGHT = word(38, 166, 154, 150);
const WRONG = word(240, 90, 60, 255);
const UNKNOWN = word(16, 18, 22, 190);
const AGREED = word(16, 18, 22, 170);
const BORDER = word(255, 255, 255, 235);

// Dark violet over teal to pale yellow: lightness grows steadily, so it reads without colour vision too.
const RAMP = [[52, 18, 82], [58, 70, 134], [38, 124, 142], [64, 176, 118], [158, 214, 70], [250, 232, 92]];

function word(red, green, blue, alpha) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
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

const CONFIDENCE = rampTable();
export const RAMP_CSS = `linear-gradient(90deg, ${RAMP.map((rgb) => `rgb(${rgb.join(",")})`).join(", ")})`;
export const KEY_COLORS = { right: "rgb(38,166,154)", wrong: "rgb(240,90,60)", unknown: "rgb(70,74,82)" };

function parseColor(color) {
  const value = Number.parseInt(String(color).replace("#", ""), 16) || 0;
  return word((value >> 16) & 255, (value >> 8) & 255, value & 255, 255);
}

// Which classes are drawn and how. A hidden class and void are fully transparent: the bare picture shows.
export class Palette {
  constructor() {
    this.colors = new Uint32Array(256);
    this.visible = new Uint8Array(256);
  }

  update(classes, hidden) {
    this.colors.fill(0);
    this.visible.fill(1);
    for (const { id, color } of classes) this.colors[id] = parseColor(color);
    for (const id of hidden) {
      this.colors[id] = 0;
      this.visible[id] = 0;
    }
    this.visible[VOID] = 0;
    this.colors[VOID] = 0;
  }
}

function paintClasses(out, words, colors) {
  for (let i = 0; i < words.length; i++) out[i] = colors[words[i] & 255];
}

function paintConfidence(out, words, visible) {
  for (let i = 0; i < words.length; i++) out[i] = visible[words[i] & 255] ? CONFIDENCE[(words[i] >>> 8) & 255] : 0;
}

function paintErrors(out, words, truth, visible) {
  for (let i = 0; i < words.length; i++) {
    const label = words[i] & 255;
    const right = truth[i] & 255;
    if (right === VOID) out[i] = UNKNOWN;
    else if (!visible[right] && !visible[label]) out[i] = 0;
    else out[i] = label === right ? RIGHT : WRONG;
  }
}

function paintDisagreement(out, words, other, colors) {
  for (let i = 0; i < words.length; i++) {
    const label = words[i] & 255;
    out[i] = label === (other[i] & 255) ? AGREED : colors[label];
  }
}

// Both sides of a border get the line: one pixel alone vanishes when a large map is drawn small.
function paintBorders(out, words, width, height, visible, colors) {
  for (let y = 0; y < height; y++) {
    const row = y * width;
    for (let x = 0; x < width; x++) {
      const i = row + x;
      const label = words[i] & 255;
      if (x + 1 < width && label !== (words[i + 1] & 255)) mark(out, words, i, i + 1, visible, colors);
      if (y + 1 < height && label !== (words[i + width] & 255)) mark(out, words, i, i + width, visible, colors);
    }
  }
}

function mark(out, words, here, there, visible, colors) {
  const a = words[here] & 255;
  const b = words[there] & 255;
  if (!visible[a] && !visible[b]) return;
  out[here] = colors ? colors[a] || colors[b] : BORDER;
  out[there] = colors ? colors[b] || colors[a] : BORDER;
}

// The coloured label map of one pane, in the map's own resolution.
export class MaskLayer {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
    this.frame = null;
  }

  resize(width, height) {
    if (this.image && this.image.width === width && this.image.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.image = this.context.createImageData(width, height);
    this.out = new Uint32Array(this.image.data.buffer);
  }

  // `network`: the map has confidences (the truth has none). `other`: the map to compare with, or null.
  paint(frame, look, palette, network, truth, other) {
    this.frame = frame;
    if (!frame) return;
    const { words, width, height } = frame;
    this.resize(width, height);
    this.fill(words, width, height, look, palette, network, sameSize(frame, truth), sameSize(frame, other));
    if (look.borders && look.mode !== "outline") paintBorders(this.out, words, width, height, palette.visible, null);
    this.context.putImageData(this.image, 0, 0);
  }

  fill(words, width, height, look, palette, network, truth, other) {
    if (look.mode === "outline") {
      this.out.fill(0);
      paintBorders(this.out, words, width, height, palette.visible, palette.colors);
    } else if (look.mode === "confidence" && network) paintConfidence(this.out, words, palette.visible);
    else if (look.mode === "errors" && network && truth) paintErrors(this.out, words, truth.words, palette.visible);
    else if (look.mode === "disagreement" && other) paintDisagreement(this.out, words, other.words, palette.colors);
    else paintClasses(this.out, words, palette.colors);
  }
}

const sameSize = (frame, other) => (other && other.width === frame.width && other.height === frame.height ? other : null);
