// @ts-check
// One zoom for all panes, so that the same place lies at the same spot in each.
//
// zoom = {scale >= 1, x, y}: (x, y) is the picture coordinate (0..1) at the pane's upper left corner.

import { clamp } from "./dom.js";

const MAX_SCALE = 32;
const WHEEL_RATE = 0.0016;
const KEY_FACTOR = 1.5;

// Rounded as a link says it, so that whoever opens the link sees the same pixels.
function bounded(scale, x, y) {
  const room = 1 - 1 / scale;
  return { scale: rounded(scale), x: rounded(clamp(x, 0, room)), y: rounded(clamp(y, 0, room)) };
}

const rounded = (value) => Math.round(value * 1e6) / 1e6;

// Zooms so that the picture point under (px, py), fractions of the pane, stays where it is.
export function zoomAt(view, factor, px = 0.5, py = 0.5) {
  const { scale, x, y } = view.settings.zoom;
  const next = clamp(scale * factor, 1, MAX_SCALE);
  view.adjust({ zoom: bounded(next, x + px / scale - px / next, y + py / scale - py / next) });
}

export function panBy(view, dx, dy) {
  const { scale, x, y } = view.settings.zoom;
  view.adjust({ zoom: bounded(scale, x - dx / scale, y - dy / scale) });
}

export const zoomKey = (view, direction) => zoomAt(view, direction > 0 ? KEY_FACTOR : 1 / KEY_FACTOR);

export const resetZoom = (view) => view.adjust({ zoom: { scale: 1, x: 0, y: 0 } });

export function toPicture(view, px, py) {
  const { scale, x, y } = view.settings.zoom;
  return { u: clamp(x + px / scale, 0, 1), v: clamp(y + py / scale, 0, 1) };
}

export function toPane(view, { u, v }) {
  const { scale, x, y } = view.settings.zoom;
  return { px: (u - x) * scale, py: (v - y) * scale };
}

// Wheel, drag, pinch, double click and hovering on one pane's viewport.
export class Gestures {
  constructor(/** @type {import("./state.js").View} */ view, viewport) {
    this.view = view;
    this.viewport = viewport;
    this.fingers = new Map();
    viewport.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    viewport.addEventListener("pointerdown", (event) => this.down(event));
    viewport.addEventListener("pointermove", (event) => this.move(event));
    for (const type of ["pointerup", "pointercancel"]) viewport.addEventListener(type, (event) => this.up(event));
    viewport.addEventListener("pointerleave", () => this.hover(null));
    viewport.addEventListener("dblclick", () => resetZoom(view));
  }

  place(event) {
    const box = this.viewport.getBoundingClientRect();
    return { px: (event.clientX - box.left) / box.width, py: (event.clientY - box.top) / box.height };
  }

  hover(place) {
    this.view.pointer = place ? toPicture(this.view, place.px, place.py) : null;
    this.view.pointed = this.viewport;
    this.view.emit("pointer");
  }

  // A picture that is whole has nothing to zoom out of: there the page scrolls.
  wheel(event) {
    if (event.deltaY > 0 && this.view.settings.zoom.scale <= 1 && !event.ctrlKey) return;
    event.preventDefault();
    const place = this.place(event);
    const lines = event.deltaMode === 1 ? 16 : 1; // some mice count lines, not pixels
    zoomAt(this.view, Math.exp(-event.deltaY * lines * WHEEL_RATE), place.px, place.py);
    this.hover(place);
  }

  down(event) {
    if (event.button !== 0) return;
    this.viewport.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.place(event));
  }

  move(event) {
    const place = this.place(event);
    const before = this.fingers.get(event.pointerId);
    if (before && this.fingers.size === 1) panBy(this.view, place.px - before.px, place.py - before.py);
    if (before && this.fingers.size === 2) this.pinch(event.pointerId, before, place);
    if (before) this.fingers.set(event.pointerId, place);
    this.hover(place);
  }

  pinch(id, before, place) {
    const [, other] = [...this.fingers].find(([finger]) => finger !== id);
    const apart = (one) => Math.hypot(one.px - other.px, one.py - other.py) || 1e-6;
    zoomAt(this.view, apart(place) / apart(before), (place.px + other.px) / 2, (place.py + other.py) / 2);
  }

  up(event) {
    this.fingers.delete(event.pointerId);
    if (event.pointerType === "touch") this.hover(null);
  }
}
