// @ts-check
// The gallery of the page of errors: thumbnails to be clicked, one page of them. Names come from outside: text, never markup.

import { button, el, setAttribute, setText } from "../viewer/dom.js";

const PLACE = Symbol.for("fusion-gallery");

class Gallery {
  constructor() {
    this.words = el("span", { class: "quiet-text", "data-testid": "gallery-words" });
    this.back = button("‹", () => this.turn(-1), { class: "round", "aria-label": "Earlier pictures", "data-testid": "gallery-back" });
    this.next = button("›", () => this.turn(1), { class: "round", "aria-label": "Further pictures", "data-testid": "gallery-next" });
    this.place = el("span", { class: "count" });
    this.list = el("div", { class: "gallery-list", role: "list", on: { keydown: (event) => this.keys(event) } });
    this.root = el("section", { class: "viewer gallery", "aria-label": "Pictures in order", "data-testid": "gallery" },
      el("div", { class: "gallery-head" }, this.words, el("span", { class: "spring" }), this.back, this.place, this.next), this.list);
    this.items = [];
  }

  update(data, report) {
    this.data = data;
    this.report = report;
    setText(this.words, data.words);
    setText(this.place, `${data.page} / ${data.pages}`);
    this.back.disabled = data.page <= 1;
    this.next.disabled = data.page >= data.pages;
    this.root.classList.toggle("gallery-strip", data.strip);
    const signature = JSON.stringify([data.base, data.rows]);
    if (signature !== this.signature) this.fill(data, signature);
    for (const { root, number } of this.items) setAttribute(root, "aria-current", number === data.open);
  }

  // Whoever came by key stays where the list was, as far as there is such a place.
  fill({ base, rows, empty }, signature) {
    this.signature = signature;
    this.items = rows.map((row) => this.item(base, row));
    this.list.replaceChildren(...(rows.length ? this.items.map(({ root }) => root) : [el("p", { class: "gallery-empty" }, empty)]));
    this.list.scrollLeft = 0;
  }

  item(base, { number, name, gain, tone, text }) {
    const image = el("img", { alt: "", loading: "lazy", decoding: "async", src: new URL(`${base}/thumbnail/${number}`, document.baseURI).href });
    const root = button("", () => this.report("open", number), { class: "gallery-item", title: name, "data-number": number, "data-testid": `gallery-${number}` });
    root.append(el("span", { class: "gallery-box" }, image), el("span", { class: "gallery-name" }, name),
      el("b", { class: tone }, gain), el("span", { class: "gallery-text" }, text));
    root.setAttribute("aria-label", `${name}: ${gain} points of mIoU, ${text}`);
    return { root, number };
  }

  turn(step) {
    this.report("page", this.data.page + step);
  }

  // Arrow keys go from picture to picture.
  keys(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const here = this.items.findIndex(({ root }) => root === event.target);
    const next = this.items[here + (step ?? 0)];
    if (!step || here < 0 || !next) return;
    event.preventDefault();
    next.root.focus();
  }
}

export default ({ data, parentElement, setTriggerValue }) => {
  let gallery = parentElement[PLACE];
  if (!gallery) {
    gallery = parentElement[PLACE] = new Gallery();
    parentElement.append(gallery.root);
  }
  gallery.update(data, setTriggerValue);
  const call = (gallery.call = {});
  return () => {
    if (gallery.call !== call || parentElement[PLACE] !== gallery) return;
    gallery.root.remove();
    delete parentElement[PLACE];
  };
};
