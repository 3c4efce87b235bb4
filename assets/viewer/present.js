// @ts-check
// Presenting: the page alone on a full screen, and a story stepped through by keys or a clicker.
//
// One presenter a document. It lives beside the pages, so that a step may be on another one: full screen is that of the
// document's root, and a step changes the address as Back and Forward do, which is followed without a reload.

import { button, clamp, el, setAttribute, setText } from "./dom.js";

/** @type {Array<[string, string]>} */
export const PRESENT_KEYS = [
  ["f", "present: full screen; f or Esc ends it"],
  ["Space  PageDown  →", "presenting: next step of the story"],
  ["PageUp  ←", "presenting: previous step"],
  ["1 – 9  Home  End", "presenting: that step, the first, the last (arrows, Home and End move the slider or the picture that has the focus)"],
];

const DIGITS_MS = 700; // 1 and then 2 is step 12, where there are as many
const TYPING = "input:not([type=range], [type=checkbox], [type=radio], [type=button]), textarea, select, [contenteditable=true]";
const MOVING = "[role=slider], [role=img], [role=tab], [role=radio], [role=combobox], [role=listbox], input, canvas";
const PRESSED = "button, a, summary, input, [role=button]";

// What a key means while a story of `count` steps is at `place` (-1: at none): the step to go to, or null.
export function stepOf(key, place, count) {
  const next = { " ": place + 1, ArrowRight: place + 1, PageDown: place + 1, ArrowLeft: place - 1, PageUp: place - 1, Home: 0, End: count - 1 }[key];
  return next === undefined || !count ? null : clamp(next, 0, count - 1);
}

// The step that digits typed one after the other name; null where a further one may follow, or none is meant.
export function digitsOf(typed, count) {
  const number = Number(typed);
  return { place: number >= 1 && number <= count ? number - 1 : null, whole: number * 10 > count };
}

// Whether a key belongs to what has the focus and not to the story.
export function belongs(key, target) {
  const is = (selector) => Boolean(target?.matches?.(selector));
  if (is(TYPING)) return true;
  if (key === " ") return is(PRESSED);
  if (key.startsWith("Page")) return false; // a clicker's keys are always the story's
  return (key.startsWith("Arrow") || key === "Home" || key === "End") && is(MOVING);
}

// A link relative to where the app is; null for what is none of it, whoever wrote it.
export function addressOf(link, base) {
  if (typeof link !== "string" || !/^[a-z]*\?[^#]*$/.test(link)) return null;
  return new URL(link.startsWith("?") ? `./${link}` : link, base).href;
}

// Equal where page and parameters are, in whatever order and spelling.
export function sameView(one, other) {
  const [first, second] = [new URL(one), new URL(other)];
  const listed = (url) => JSON.stringify([...url.searchParams].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  return first.origin === second.origin && first.pathname === second.pathname && listed(first) === listed(second);
}

export class Presenter {
  constructor() {
    this.steps = [];
    this.place = -1;
    this.on = false;
    this.watchers = new Set();
    this.typed = "";
    this.build();
    window.addEventListener("keydown", (event) => this.pressed(event), true);
    document.addEventListener("fullscreenchange", () => {
      if (this.full && !document.fullscreenElement) this.stop();
      this.full = Boolean(document.fullscreenElement);
    });
  }

  build() {
    this.title = el("strong", {});
    this.note = el("span", { class: "presenter-note" });
    this.count = el("span", { class: "presenter-count", "data-testid": "present-count" });
    this.words = el("div", { class: "presenter-words", "aria-live": "polite" }, this.title, this.note);
    this.previous = button("‹", () => this.go(this.place - 1), { "aria-label": "Previous step" });
    this.next = button("›", () => this.go(this.place + 1), { "aria-label": "Next step" });
    this.root = el("div", { class: "presenter", role: "region", "aria-label": "Story", "data-testid": "presenter", hidden: true },
      this.words, this.previous, this.count, this.next, button("End", () => this.stop(), { "data-testid": "present-end", title: "f or Esc" }));
    document.body.append(this.root);
  }

  // Called with whether there is a presentation now, and at every change.
  watch(watcher) {
    this.watchers.add(watcher);
    watcher(this.on);
    this.mark();
    return () => {
      this.watchers.delete(watcher);
      this.mark();
    };
  }

  // Where a viewer is, it fills the screen; other pages fill it as they are.
  mark() {
    document.documentElement.classList.toggle("presenting", this.on);
    document.documentElement.classList.toggle("presenting-viewer", this.on && this.watchers.size > 0);
  }

  take(steps) {
    this.steps = steps.map((step) => ({ ...step, href: addressOf(step.link, document.baseURI) })).filter(({ href }) => href);
    if (this.place >= this.steps.length) this.place = -1;
    this.show();
  }

  toggle() {
    if (this.on) this.stop();
    else this.start();
  }

  start() {
    this.on = true;
    this.place = this.steps.findIndex(({ href }) => sameView(href, window.location.href));
    document.documentElement.requestFullscreen?.({ navigationUI: "hide" }).catch(() => {}); // refused: the class alone does it
    this.changed();
    this.focus();
  }

  stop() {
    if (!this.on) return;
    this.on = false;
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    this.changed();
  }

  changed() {
    this.mark();
    document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);
    for (const watcher of this.watchers) watcher(this.on);
    this.show();
    window.dispatchEvent(new Event("resize")); // what is fitted to the window fits anew
  }

  // Keys are the story's from the beginning, whatever had the focus.
  focus() {
    const active = document.activeElement;
    const inner = active?.shadowRoot?.activeElement ?? active;
    if (inner instanceof HTMLElement) inner.blur();
    document.documentElement.tabIndex = -1;
    document.documentElement.focus({ preventScroll: true });
  }

  go(place) {
    const step = this.steps[place];
    if (!step) return;
    this.place = place;
    this.show();
    if (sameView(step.href, window.location.href)) return;
    window.history.pushState(null, "", step.href);
    window.dispatchEvent(new PopStateEvent("popstate", { state: null }));
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const path = event.composedPath();
    if (belongs(event.key, path[0]) || path.some((node) => /** @type {any} */ (node).tagName === "DIALOG")) return;
    if (event.key === "f" || event.key === "F") this.toggle();
    else if (this.on && event.key === "Escape") this.stop();
    else if (!this.on || !this.step(event.key)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  // Whether a key was the story's.
  step(key) {
    if (!this.steps.length) return false;
    if (/^\d$/.test(key)) return this.digit(key);
    const place = stepOf(key, this.place, this.steps.length);
    if (place !== null) this.go(place);
    return place !== null;
  }

  digit(key) {
    clearTimeout(this.typing);
    this.typed += key;
    const { place, whole } = digitsOf(this.typed, this.steps.length);
    const jump = () => {
      this.typed = "";
      if (place !== null) this.go(place);
    };
    if (whole) jump();
    else this.typing = setTimeout(jump, DIGITS_MS);
    return true;
  }

  show() {
    const { steps, place } = this;
    const step = steps[place];
    this.root.hidden = !this.on || !steps.length;
    document.documentElement.classList.toggle("presenting-story", this.on && steps.length > 0);
    setText(this.title, step?.title ?? "");
    setText(this.note, step?.note ?? "");
    setText(this.count, `${step ? place + 1 : "–"} / ${steps.length}`);
    this.previous.disabled = place <= 0;
    this.next.disabled = place >= steps.length - 1;
    setAttribute(this.root, "data-place", step ? place + 1 : 0);
  }
}

/** @type {Presenter | null} */
let only = null;

export const presenter = () => (only ??= new Presenter());

// Lets a viewer fill the screen while somebody presents; called again it lets go.
export function fillsScreen(root) {
  return presenter().watch((on) => root.classList.toggle("presenting", on));
}
