// @ts-check
// The first three steps, once in the life of a home folder: a card over the lower end of the sidebar, and a frame around what
// it speaks of. It lies over no picture and moves nothing.

import { button, el, setText } from "./dom.js";

/** @type {Array<{text: string, title: string, find: () => Element | null}>} */
const STEPS = [
  { title: "Drag this", text: "The slider mixes A and B. Masks, scores and curve follow while you drag.", find: () => inViewer('[data-testid="alpha-slider"]') },
  { title: "Look here", text: "Where the curve rises above both dashed lines, the merge beats A and B.", find: () => inViewer('[data-testid="curve"]') },
  { title: "Open that", text: "Diagnose says for every pair whether a merge will work, and why. Your own checkpoints: Workspace.", find: () => document.querySelector('a[data-testid="stSidebarNavLink"][href$="/diagnostics"]') },
];

function inViewer(selector) {
  for (const host of document.querySelectorAll('[data-testid="stBidiComponentRegular"], [data-testid^="stBidiComponent"]')) {
    for (const node of [host, ...host.querySelectorAll("*")]) {
      const found = node.shadowRoot?.querySelector(selector);
      if (found) return found;
    }
  }
  return document.querySelector(selector);
}

class Tour {
  constructor() {
    this.place = 0;
    /** @type {(() => void) | null} */
    this.dismissed = null; // told at the end
    this.title = el("strong", {});
    this.text = el("p", {});
    this.count = el("span", { class: "tour-count" });
    this.next = button("Next", () => this.go(this.place + 1), { "data-testid": "tour-next" });
    this.root = el("div", { class: "tour", role: "region", "aria-label": "First steps", "data-testid": "tour" },
      this.title, this.text, el("div", { class: "tour-row" }, this.count, button("Dismiss", () => this.end(), { "data-testid": "tour-dismiss" }), this.next));
    this.go(0);
  }

  go(place) {
    if (place >= STEPS.length) return this.end();
    this.place = place;
    setText(this.title, STEPS[place].title);
    setText(this.text, STEPS[place].text);
    setText(this.count, `${place + 1} / ${STEPS.length}`);
    setText(this.next, place + 1 < STEPS.length ? "Next" : "Done");
    return this.frame();
  }

  // What a step speaks of may come later than the card; on a screen that is presented nothing is framed.
  frame() {
    const found = document.documentElement.classList.contains("presenting") || !this.root.isConnected ? null : STEPS[this.place].find();
    if (found !== this.framed) {
      this.unframe();
      this.framed = found;
      if (found instanceof HTMLElement || found instanceof SVGElement) found.style.outline = "3px solid #e0a100";
    }
    clearTimeout(this.looking);
    if (!this.ended) this.looking = setTimeout(() => this.frame(), 500);
  }

  unframe() {
    if (this.framed) this.framed.style.outline = "";
    this.framed = null;
  }

  end() {
    this.ended = true;
    clearTimeout(this.looking);
    this.unframe();
    this.root.remove();
    this.dismissed?.();
  }
}

/** @type {Tour | null} */
let only = null;

// Once it was dismissed here it stays away, also before the server has heard of it.
export function showTour(wanted, dismissed) {
  if (!wanted) only?.root.remove(); // another page: it waits
  if (!wanted || only?.ended) return;
  only ??= new Tour();
  only.dismissed = dismissed;
  if (!only.root.isConnected) document.body.append(only.root);
}
