// @ts-check
// Regions in fractions of a picture: [x, y, width, height] from its upper left corner, filled by a rectangle or an ellipse.

import { clamp } from "./dom.js";

const rounded = (value) => Math.round(value * 1e6) / 1e6;

/**
 * The box between two corners, in any order; what lies outside of the picture is cut off.
 * @param {{u: number, v: number}} one
 * @param {{u: number, v: number}} other
 */
export function boxOf(one, other) {
  const [left, right] = [one.u, other.u].map((value) => rounded(clamp(value, 0, 1))).sort((a, b) => a - b);
  const [top, bottom] = [one.v, other.v].map((value) => rounded(clamp(value, 0, 1))).sort((a, b) => a - b);
  return [left, top, rounded(right - left), rounded(bottom - top)];
}

/** Whether a point of the picture lies in a marked region; its edge counts. */
export function within({ shape, box: [x, y, width, height] }, { u, v }) {
  const [across, down] = [(2 * (u - x)) / width - 1, (2 * (v - y)) / height - 1]; // -1 to 1 from edge to edge
  return shape === "ellipse" ? across ** 2 + down ** 2 <= 1 : Math.abs(across) <= 1 && Math.abs(down) <= 1;
}

/** Of the regions around a point the smallest, which others may cover; null where there is none. */
export function smallestAt(marks, point) {
  const area = ({ shape, box }) => box[2] * box[3] * (shape === "ellipse" ? Math.PI / 4 : 1);
  return marks.filter((mark) => within(mark, point)).sort((one, other) => area(one) - area(other))[0] ?? null;
}

/** A box as pixels of a pane, where the whole picture is drawn at (x, y) with this width and height. */
export const placed = (box, x, y, width, height) => ({ x: x + box[0] * width, y: y + box[1] * height, width: box[2] * width, height: box[3] * height });

const LONGEST = 4000;

/**
 * The link of what is looked at, relative to any page of the program; empty where it is longer than the server keeps.
 * @param {{pathname: string, search: string}} address
 */
export function linkOf({ pathname, search }) {
  const query = new URLSearchParams(search).toString();
  const link = `${pathname.split("/").at(-1)}${query ? `?${query}` : ""}`;
  return link.length <= LONGEST ? link : "";
}

/** The same as an address to open from any page; null for what is none. */
export const addressOf = (link) => (link && /^[a-z]*(\?|$)/.test(link) ? `./${link}` : null);
