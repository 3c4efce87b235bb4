// @ts-check
// How the pictures are looked at: lens, layout, panes, zoom, hidden classes. All of it is one short text, which a link carries.
//
// The text names every setting, defaults included, in characters that no address has to escape: `lens-mask~zoom-2_0.1_0.2~...`.
// What somebody else wrote is taken setting by setting where it makes sense, and left where it does not.

import { clamp } from "./dom.js";
import { LENSES } from "./lenses.js";
import { PALETTES } from "./palettes.js";
import { PANES } from "./pane-registry.js";

export const LAYOUTS = ["grid", "wipe", "blink"];
const MAX_SCALE = 32;

const word = (allowed) => ({ write: String, read: (text) => (allowed().includes(text) ? text : undefined) });
const flag = { write: (value) => (value ? "1" : "0"), read: (text) => ({ 1: true, 0: false })[text] };
const share = { write: round, read: (text) => number(text, 0, 1) };
const list = (read, least = 0) => ({
  write: (values) => values.join("_"),
  read: (text) => {
    const values = text === "" ? [] : [...new Set(text.split("_").map(read))].filter((value) => value !== undefined);
    return values.length < least ? undefined : values;
  },
});
const pane = word(() => [...PANES.keys()]);
const optional = (kind) => ({ write: (value) => (value === null ? "" : kind.write(value)), read: (text) => (text === "" ? null : kind.read(text)) });

// Settings in the order of the text.
const FIELDS = {
  lens: word(() => [...LENSES.keys()]),
  masks: flag,
  opacity: share,
  borders: flag,
  hidden: list((text) => whole(text, 255)),
  shown: list(pane.read, 1),
  large: flag,
  layout: word(() => LAYOUTS),
  left: pane,
  right: pane,
  split: share,
  reference: pane,
  zoom: { write: ({ scale, x, y }) => [scale, x, y].map(round).join("_"), read: readZoom },
  metric: optional(word(() => ["miou", "pixel_accuracy", "loss"])),
  step: share,
  scope: optional(word(() => ["split", "picture"])),
  sure: share,
  palette: word(() => PALETTES.map(([id]) => id)),
  marks: flag,
  silent: list((text) => whole(text, 7)),
  fusion: { write: (value) => value.replace(":", "."), read: (text) => (/^[a-z0-9_.]{0,40}$/.test(text) ? text.replace(".", ":") : undefined) },
};

export const DEFAULTS = {
  lens: "mask",
  masks: true,
  opacity: 0.65,
  borders: false,
  hidden: [], // classes by number
  shown: ["a", "m", "b", "t"],
  large: false,
  layout: "grid",
  left: "a",
  right: "m",
  split: 0.5,
  reference: "a",
  zoom: { scale: 1, x: 0, y: 0 },
  metric: null,
  step: 0.05,
  scope: null, // whose IoU the legend shows: split | picture
  sure: 0, // pixels of less confidence are hatched
  palette: "own",
  marks: true, // marked regions are drawn
  silent: [], // learners inside the merged network that do not answer, by number
  fusion: "", // how they are put together; empty: as the network does
};

export const writeLook = (settings) =>
  Object.entries(FIELDS).map(([name, { write }]) => `${name}-${write(settings[name])}`).join("~");

export function readLook(text) {
  const look = structuredClone(DEFAULTS);
  for (const part of String(text ?? "").slice(0, 2000).split("~")) {
    const dash = part.indexOf("-");
    const name = part.slice(0, dash);
    if (dash < 1 || !Object.hasOwn(FIELDS, name)) continue;
    const value = FIELDS[name].read(part.slice(dash + 1));
    if (value !== undefined) look[name] = value;
  }
  return look;
}

function round(value) {
  return String(Math.round(value * 1e6) / 1e6);
}

function number(text, low, high) {
  const value = /^\d{1,4}(\.\d{1,6})?$/.test(text) ? Number(text) : NaN;
  return value >= low && value <= high ? value : undefined;
}

function whole(text, most) {
  const value = number(text, 0, most);
  return Number.isInteger(value) ? value : undefined;
}

function readZoom(text) {
  const [scale, x, y] = text.split("_").map((part) => number(part, 0, MAX_SCALE));
  if (scale === undefined || x === undefined || y === undefined || scale < 1) return undefined;
  const room = 1 - 1 / scale;
  return { scale, x: clamp(x, 0, Math.ceil(room * 1e6) / 1e6), y: clamp(y, 0, Math.ceil(room * 1e6) / 1e6) };
}
