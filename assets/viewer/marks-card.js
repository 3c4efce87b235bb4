// @ts-check
// The field for the note of a marked region, and the line that says what to do or what was done. Both lie over the pictures, so that nothing moves.

import { button, clamp, el, setAttribute, setText } from "./dom.js";
import { addressOf } from "./marks-geometry.js";
import { toPane } from "./zoom.js";

const LONGEST = 500;
const BESIDE = 8; // pixels between a region and its card

export class MarkCard {
  // `on`: {save(mark, note), remove(mark)}.
  constructor(/** @type {import("./state.js").View} */ view, on) {
    this.view = view;
    this.on = on;
    this.mark = null;
    this.input = el("input", {
      type: "text", maxlength: LONGEST, placeholder: "What is to be seen here?", "aria-label": "Note of the marked region", autocomplete: "off", "data-testid": "mark-note",
      on: { keydown: (event) => this.key(event) },
    });
    this.removing = button("Delete", () => this.on.remove(this.mark), { class: "quiet", "data-testid": "mark-delete" });
    this.link = el("a", { target: "_blank", rel: "noopener", "data-testid": "mark-link" }, "As it was seen");
    this.root = el("div", { class: "mark-card", role: "dialog", "aria-label": "Marked region", hidden: true, "data-testid": "mark-card" }, this.input,
      el("div", { class: "mark-row" }, button("Save", () => this.save(), { class: "primary", "data-testid": "mark-save" }), this.removing, this.link,
        button("Close", () => this.close(), { class: "quiet", "data-testid": "mark-close" })));
    view.on("zoom settings", () => this.place());
  }

  get changed() {
    return Boolean(this.mark) && this.input.value.trim() !== this.mark.note;
  }

  // Beside a region in one of the panes; the focus comes back to where it was.
  open(mark, viewport) {
    this.back = this.root.hidden ? this.root.getRootNode().activeElement : this.back;
    this.mark = mark;
    this.viewport = viewport;
    this.input.value = mark.note;
    this.removing.hidden = !mark.id;
    const address = addressOf(mark.view);
    setAttribute(this.link, "href", address);
    this.link.hidden = !address;
    this.root.hidden = false;
    this.place();
    this.input.focus({ preventScroll: true });
  }

  place() {
    const stage = this.root.offsetParent;
    if (!this.mark || !stage) return;
    const [x, y, width, height] = this.mark.box;
    const [pane, around] = [this.viewport.getBoundingClientRect(), stage.getBoundingClientRect()];
    const { px } = toPane(this.view, { u: x + width / 2, v: y });
    const { py } = toPane(this.view, { u: x, v: y + height });
    const left = pane.left - around.left + px * pane.width - this.root.offsetWidth / 2;
    const top = pane.top - around.top + py * pane.height + BESIDE;
    this.root.style.left = `${clamp(left, 0, Math.max(0, around.width - this.root.offsetWidth))}px`;
    this.root.style.top = `${clamp(top, 0, Math.max(0, around.height - this.root.offsetHeight))}px`;
  }

  key(event) {
    event.stopPropagation();
    if (event.key === "Enter" && !event.isComposing) this.save();
    if (event.key === "Escape") this.close();
  }

  save() {
    const note = this.input.value.trim();
    if (!note) this.input.focus();
    else if (this.mark.id && !this.changed) this.close();
    else this.on.save(this.mark, note);
  }

  close() {
    if (this.root.hidden) return;
    const held = this.root.contains(this.root.getRootNode().activeElement);
    this.mark = null;
    this.root.hidden = true;
    if (held) this.back?.focus({ preventScroll: true });
    this.view.emit("marks");
  }
}

export class MarkLine {
  constructor() {
    this.text = el("span", {});
    this.act = button("Undo", () => this.acted(), { class: "quiet", "data-testid": "mark-undo" });
    this.root = el("div", { class: "mark-line", role: "status", hidden: true, "data-testid": "mark-line" }, this.text, this.act);
  }

  // `undo`, where there is something to undo.
  say(text, undo = null) {
    this.undo = undo;
    setText(this.text, text);
    this.act.hidden = !undo;
    this.root.hidden = !text;
  }

  acted() {
    const { undo } = this;
    this.say("");
    undo?.();
  }
}
