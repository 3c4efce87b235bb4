// @ts-check
// Elements and numbers. Strings from the server always become text, never markup.

const SVG = "http://www.w3.org/2000/svg";

export function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes = {}, children = []) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "on") listen(node, value);
    else setAttribute(node, name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function listen(node, listeners) {
  for (const [type, listener] of Object.entries(listeners)) node.addEventListener(type, listener);
}

// ARIA states are the words "true" and "false"; other attributes are there or not.
export function setAttribute(node, name, value) {
  if (typeof value === "boolean" && name.startsWith("aria-")) node.setAttribute(name, value);
  else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : String(value));
}

// Writing the same text again would make screen readers repeat it and the browser lay it out again.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function button(label, onClick, attributes = {}) {
  return el("button", { type: "button", ...attributes, on: { click: onClick } }, label);
}

export function option(value, label) {
  return el("option", { value }, label);
}

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export const known = (value) => typeof value === "number" && Number.isFinite(value);

// Fractions become percentages: 0.712 -> "71.2 %".
export const percent = (value, digits = 1) => (known(value) ? `${(100 * value).toFixed(digits)} %` : "–");

export const bare = (value, digits = 1) => (known(value) ? (100 * value).toFixed(digits) : "–");

// A change with its sign; a true minus so that the columns align.
export function signed(value, digits = 1) {
  if (!known(value)) return "";
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return `±${text}`;
  return (value > 0 ? "+" : "−") + text;
}

export const alphaText = (alpha) => (Math.abs(alpha * 100 - Math.round(alpha * 100)) < 1e-6 ? alpha.toFixed(2) : alpha.toFixed(3));

// The name of an alpha in requests and cache keys: never two spellings of one number.
export const alphaKey = (alpha) => alpha.toFixed(3);

export function duration(seconds) {
  if (!known(seconds)) return "";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s left`;
  return `${Math.round(seconds / 60)} min left`;
}

// A time that is guessed from one step of many.
export const about = (seconds) => (seconds < 90 ? `about ${Math.max(1, Math.round(seconds))} s` : `about ${Math.round(seconds / 60)} min`);

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

export const reducedMotion = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;
