// @ts-check
// The alpha slider: drag, keys, number, play. It reports nothing to Python before the release.

import { alphaText, button, clamp, el, known, reducedMotion, setAttribute, setText } from "./dom.js";
import { AlphaMixture } from "./alpha.js";
import { Outlook } from "./outlook.js";

const PLAY_MS = 8000; // one way through alpha 0..1 and back
const LONGEST_TICK_MS = 50; // a browser that was busy goes on where it was: the knob does not jump

/** @type {Array<[string, string]>} */
const ALPHA_KEYS = [
  ["← →", "alpha by 0.01 (on the slider)"],
  ["Shift ← →", "alpha by 0.1"],
  ["Home, End", "alpha 0 (B), alpha 1 (A)"],
  ["p", "play or pause"],
];

export class AlphaControl {
  constructor(/** @type {import("./state.js").View} */ view) {
    this.view = view;
    this.build();
    view.on("mixture data sweep settled frame playing", () => this.show());
    view.on("grab", () => this.stop());
    this.show();
  }

  build() {
    this.thumb = el("div", { class: "thumb" });
    this.marks = el("div", { class: "marks" });
    this.track = el("div", {
      class: "track", role: "slider", tabindex: "0", "aria-label": "alpha, weight of checkpoint A", "aria-valuemin": 0, "aria-valuemax": 1,
      "aria-orientation": "horizontal", "data-testid": "alpha-slider",
    }, el("div", { class: "rail" }), this.marks, this.thumb);
    this.ticks = el("div", { class: "ticks", "aria-hidden": "true" });
    for (const [at, label] of /** @type {Array<[number, string]>} */ ([[0, "0"], [0.25, ".25"], [0.5, ".5"], [0.75, ".75"], [1, "1"]])) {
      const tick = el("span", { class: "tick" }, label);
      tick.style.left = `${100 * at}%`;
      this.ticks.append(tick);
    }
    this.input = el("input", {
      class: "number", type: "number", min: 0, max: 1, step: 0.01, "aria-label": "alpha", "data-testid": "alpha-input",
      on: { input: () => this.typed(), change: () => this.corrected(), keydown: (event) => event.stopPropagation() },
    });
    this.play = button("Play", () => this.toggle(), { class: "play", "data-testid": "play" });
    this.outlook = new Outlook(this.view);
    this.formula = el("span", { class: "formula", "data-testid": "formula" });
    this.timing = el("span", { class: "quiet-text timing", "data-testid": "timing" });
    this.measure = button("Measure here", () => this.view.sweep.measure(this.view.alpha), { class: "quiet", "data-testid": "measure" });
    this.listen();
    this.root = el("section", { class: "card alpha-card", "aria-label": "Alpha" },
      el("div", { class: "alpha-head" }, el("h2", {}, "alpha"), this.formula, this.outlook.root, this.measure, this.timing),
      el("div", { class: "alpha-row" }, this.play, el("span", { class: "end end-b" }, "B"),
        el("div", { class: "slider" }, this.track, this.ticks), el("span", { class: "end end-a" }, "A"), this.input));
  }

  listen() {
    const { track, view } = this;
    track.addEventListener("pointerdown", (event) => this.down(event));
    track.addEventListener("pointermove", (event) => {
      if (track.hasPointerCapture(event.pointerId)) view.setAlpha(this.alphaAt(event));
    });
    for (const type of ["pointerup", "pointercancel"]) {
      track.addEventListener(type, () => {
        if (view.moving) view.release();
      });
    }
    track.addEventListener("dblclick", () => view.nudge(0.5));
    track.addEventListener("keydown", (event) => this.keys(event));
  }

  down(event) {
    if (event.button !== 0) return;
    this.stop();
    this.track.setPointerCapture(event.pointerId);
    this.view.hold();
    this.view.setAlpha(this.alphaAt(event));
  }

  alphaAt(event) {
    const box = this.track.getBoundingClientRect();
    return clamp((event.clientX - box.left) / box.width, 0, 1);
  }

  keys(event) {
    const size = event.shiftKey ? 0.1 : this.view.data.step || 0.01;
    const { alpha } = this.view;
    const next = {
      ArrowLeft: alpha - size, ArrowDown: alpha - size, ArrowRight: alpha + size, ArrowUp: alpha + size, Home: 0, End: 1,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.stop();
    this.view.nudge(next);
  }

  // A typed number is taken as it is, also between the slider's steps.
  typed() {
    const value = this.input.valueAsNumber;
    if (!known(value)) return;
    this.stop();
    this.view.nudge(clamp(value, 0, 1), true);
  }

  // What cannot be an alpha is set right once the field is left or Enter pressed.
  corrected() {
    this.typed();
    this.input.value = alphaText(this.view.alpha);
  }

  toggle() {
    if (this.playing) this.stop(true);
    else this.start();
  }

  // Plays from where the slider stands: up to A, back to B, and so on.
  start() {
    const { view } = this;
    const began = performance.now() - (view.alpha * PLAY_MS) / 2;
    let [along, last] = [began, performance.now()];
    const tick = (now) => {
      // A frame that is late holds the hand back: the knob never stands over the masks of another alpha.
      const framed = this.view.framed();
      along += framed ? Math.max(0, now - last - LONGEST_TICK_MS) : now - last;
      last = now;
      const phase = ((now - along) % PLAY_MS) / PLAY_MS;
      if (framed) view.setAlpha(phase < 0.5 ? 2 * phase : 2 - 2 * phase);
      this.playing = requestAnimationFrame(tick);
    };
    view.hold();
    this.playing = requestAnimationFrame(tick);
    view.emit("playing");
  }

  stop(report = false) {
    if (!this.playing) return;
    cancelAnimationFrame(this.playing);
    this.playing = null;
    if (report) this.view.release();
    this.view.emit("playing");
  }

  show() {
    const { alpha, data, sweep } = this.view;
    this.thumb.style.left = `${100 * alpha}%`;
    setAttribute(this.track, "aria-valuenow", alpha);
    setAttribute(this.track, "aria-valuetext", `alpha ${alphaText(alpha)}: ${alphaText(alpha)} of ${data.a.name}, ${alphaText(1 - alpha)} of ${data.b.name}`);
    setAttribute(this.track, "data-alpha", alpha.toFixed(3));
    if (this.input !== this.input.getRootNode().activeElement) this.input.value = alphaText(alpha);
    setText(this.formula, `${alphaText(alpha)} × A ${data.a.name}  +  ${alphaText(1 - alpha)} × B ${data.b.name}`);
    this.showTiming();
    const offer = data.live && data.labelled && sweep && !sweep.running && !this.view.moving && !sweep.measuredAt(alpha);
    this.measure.classList.toggle("gone", !offer);
    setText(this.play, this.playing ? "Pause" : "Play");
    this.play.disabled = reducedMotion() || !data.live;
    setAttribute(this.play, "title", reducedMotion() ? "Off, because the system asks for reduced motion" : "Move alpha to and fro");
    setAttribute(this.play, "aria-pressed", Boolean(this.playing));
    this.showMarks();
  }

  showTiming() {
    const { timing } = this.view;
    if (timing?.cached) return setText(this.timing, "frame from memory");
    const parts = timing ? [`frame ${Math.round(timing.took)} ms`] : [];
    if (known(timing?.merge) && known(timing?.forward)) parts.push(`merge ${Math.round(timing.merge)}, network ${Math.round(timing.forward)}`);
    return setText(this.timing, parts.join(" · "));
  }

  // Where the curve has been measured.
  showMarks() {
    const points = this.view.sweep?.points ?? [];
    if (points === this.marked) return;
    this.marked = points;
    this.marks.replaceChildren(...points.map((point) => {
      const mark = el("i", { class: "mark" });
      mark.style.left = `${100 * point.alpha}%`;
      return mark;
    }));
  }
}

/** @type {import("./instance.js").Controls} */
export const alphaControls = {
  kind: "viewer-merge",
  mixtureOf: (view) => new AlphaMixture(view),
  build(view) {
    const control = new AlphaControl(view);
    return { roots: [control.root], keys: ALPHA_KEYS, actions: { p: () => control.toggle() }, dispose: () => control.stop() };
  },
};
