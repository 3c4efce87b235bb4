// @ts-check
// Colours of the classes: the dataset's own, or eight that colour-blind eyes tell apart (Okabe & Ito 2008), with patterns where
// there are more classes than colours. With the dataset's own, building and tree of CamVid are one olive to a deuteranope.

import { word } from "./paint.js";

export const PALETTES = [["own", "Colours of the data"], ["safe", "For colour-blind eyes"]];

/** @type {number[][]} */
const COLOURS = [[0, 114, 178], [230, 159, 0], [86, 180, 233], [213, 94, 0], [0, 158, 115], [240, 228, 66], [204, 121, 167], [110, 110, 110]];

// Which pixels of a class get the line's colour, and the same for a swatch.
const PERIOD = 8;
const WIDE = 3;
const PATTERNS = [
  { on: null, css: () => "" },
  { on: (x, y) => (x + y) % PERIOD < WIDE, css: (line) => stripes(135, line) },
  { on: (x, y) => y % PERIOD < WIDE, css: (line) => stripes(180, line) },
  { on: (x) => x % PERIOD < WIDE, css: (line) => stripes(90, line) },
  { on: (x, y) => x % PERIOD < WIDE && y % PERIOD < WIDE, css: (line) => `radial-gradient(${line} 30%, transparent 34%) 0 0 / 6px 6px, ` },
];

/** Colours times patterns: classes beyond that share theirs. */
export const TOLD_APART = COLOURS.length * PATTERNS.length;

function stripes(angle, line) {
  return `repeating-linear-gradient(${angle}deg, ${line} 0 2px, transparent 2px 5px), `;
}

/** @param {number[]} rgb */
const isLight = ([red, green, blue]) => 0.299 * red + 0.587 * green + 0.114 * blue > 140;
const hex = (rgb) => `#${rgb.map((value) => value.toString(16).padStart(2, "0")).join("")}`;

/**
 * The classes as a palette draws them: `css` for a swatch, `line` and `on` where there is a pattern.
 * @param {Array<{id: number, name: string, color: string}>} classes
 * @param {string} palette
 */
export function coloured(classes, palette) {
  if (palette !== "safe") return classes.map((entry) => ({ ...entry, css: entry.color, line: 0, on: null }));
  return classes.map((entry, place) => {
    const rgb = COLOURS[place % COLOURS.length];
    const { on, css } = PATTERNS[Math.floor(place / COLOURS.length) % PATTERNS.length];
    const [shade, line] = isLight(rgb) ? [20, "#141414"] : [255, "#ffffff"];
    return { ...entry, color: hex(rgb), css: `${css(line)}${hex(rgb)}`, line: word(shade, shade, shade, 255), on };
  });
}

// The lines of patterns, over whatever a lens has painted in the colour of its class.
export function paintPatterns(out, { words, width }, { colors, lines, patterns }) {
  for (let i = 0; i < words.length; i++) {
    const label = words[i] & 255;
    if (patterns[label] && out[i] === colors[label] && patterns[label](i % width, Math.floor(i / width))) out[i] = lines[label];
  }
}
