// @ts-check
// The coloured label map of one pane, in the map's own resolution.

import { lensOf, paintBorders, paintClasses } from "./lenses.js";
import { paintUnsure } from "./lenses-errors.js";
import "./lenses-doubt.js"; // after those that are used most: buttons and keys have this order
import { paintPatterns } from "./palettes.js";

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

  // `network`: the map has confidences (the truth has none). `beside`: truth and reference, maps of the same picture or null.
  paint(frame, look, palette, network, beside) {
    this.frame = frame;
    if (!frame) return;
    this.resize(frame.width, frame.height);
    const lens = lensOf(look.lens);
    const context = { palette, truth: sameSize(frame, beside.truth), reference: sameSize(frame, beside.reference), doubt: frame.doubt };
    const possible = (network || !lens.networks) && lens.needs.every((one) => context[one]);
    (possible ? lens.paint : paintClasses)(this.out, frame, context);
    if (palette.patterned && !lens.solid) paintPatterns(this.out, frame, palette);
    if (look.borders && lens.id !== "outline") paintBorders(this.out, frame, palette, false);
    if (network && look.sure > 0) paintUnsure(this.out, frame, look.sure);
    this.context.putImageData(this.image, 0, 0);
  }
}

const sameSize = (frame, other) => (other && other.width === frame.width && other.height === frame.height ? other : null);
