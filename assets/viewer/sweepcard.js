// @ts-check
// The curve's card: title, metric, step, start, progress, cancel.

import { about, button, duration, el, known, option, setAttribute, setText } from "./dom.js";
import { Curve } from "./curve.js";
import { METRICS } from "./sweep.js";

const STEPS = [0.1, 0.05, 0.025];
const caption = (better) =>
  `Each point is one merged network measured on the whole split. ${better > 0 ? "Above" : "Below"} both dashed lines, the merge beats A and B.`;

export class SweepCard {
  constructor(/** @type {import("./state.js").View} */ view) {
    this.view = view;
    this.curve = new Curve(view);
    this.build();
    view.on("sweep settings data bundle", () => this.show());
    view.on("frame", () => this.timed()); // the first that says how long a pass takes
    this.root.hidden = !view.mixture.onCurve;
    this.show();
  }

  timed() {
    if (this.knowsTime || !known(this.view.timing?.forward)) return;
    this.knowsTime = true;
    this.show();
  }

  build() {
    const { view } = this;
    this.metrics = Object.entries(METRICS).map(([metric, { label }]) =>
      button(label, () => view.change({ metric }), { "data-metric": metric, "data-testid": `metric-${metric}` }));
    this.step = el("select", { "aria-label": "Step of the sweep", "data-testid": "step", on: { change: () => view.change({ step: Number(this.step.value) }) } },
      ...STEPS.map((step) => option(step, `step ${step}`)));
    this.go = button("Measure curve", () => view.sweep.start(view.settings.step), { class: "primary", "data-testid": "sweep-start" });
    this.stop = button("Cancel", () => view.sweep.cancel(), { class: "quiet", "data-testid": "sweep-cancel" });
    this.bar = el("div", { class: "bar" });
    this.progress = el("div", { class: "progress", role: "progressbar", "aria-label": "Sweep", "aria-valuemin": 0, "data-testid": "progress" }, this.bar);
    this.progressText = el("span", { class: "quiet-text", "data-testid": "progress-text" });
    this.caption = el("p", { class: "caption" });
    this.root = el("section", { class: "card curve-card", "aria-label": "Interpolation curve" },
      el("div", { class: "curve-head" }, el("h2", {}, "Interpolation curve"),
        el("div", { class: "segments", role: "group", "aria-label": "Metric" }, ...this.metrics)),
      this.curve.read, this.curve.root,
      el("div", { class: "sweep-row" }, this.step, this.go, this.stop, this.progress, this.progressText),
      this.caption);
  }

  show() {
    const { sweep, settings, data } = this.view;
    const { answer } = sweep;
    for (const one of this.metrics) setAttribute(one, "aria-pressed", one.dataset.metric === this.curve.metric);
    this.step.value = settings.step;
    this.step.disabled = sweep.running;
    this.go.hidden = sweep.running;
    this.go.disabled = !data.labelled || !data.live;
    this.stop.hidden = !sweep.running;
    setText(this.caption, `${caption(METRICS[this.curve.metric].better)} ${this.view.mixture.hint}`);
    const left = lacking(sweep, settings.step);
    setText(this.go, startLabel(answer, left, this.view.timing?.forward));
    setAttribute(this.go, "title", left && answer.images ? `At most ${left * answer.images} forward passes: ${left} networks over ${answer.images} pictures` : null);
    setText(this.progressText, progressText(answer));
    this.progress.hidden = !answer.total || answer.state === "idle";
    setAttribute(this.progress, "aria-valuemax", answer.total || 1);
    setAttribute(this.progress, "aria-valuenow", answer.done);
    setAttribute(this.root, "data-state", answer.state);
    // Pictures, not points, where the server counts them: one point of a large split takes a while.
    const share = answer.state === "running" && answer.fraction ? answer.fraction : answer.done / answer.total;
    this.bar.style.width = answer.total ? `${100 * share}%` : "0";
  }
}

// How many points of a grid are not measured yet; at 0 and 1 the merge is B and A themselves.
export function lacking(sweep, step) {
  const count = Math.round(1 / step);
  return Array.from({ length: count + 1 }, (_, place) => place / count).filter((alpha) => !sweep.measuredAt(alpha)).length;
}

/**
 * What is left to do is said with its cost, in forward passes.
 * @param {Record<string, any>} answer
 * @param {number} left
 */
function startLabel({ state, done, images }, left, forward) {
  if (!left) return "Measure again";
  const time = known(forward) ? `, ${about((left * images * forward) / 1000)}` : "";
  const cost = images ? `: ${left * images} passes${time}` : "";
  return `${(state === "cancelled" || state === "failed") && done > 0 ? "Resume" : "Measure curve"}${cost}`;
}

/** @param {Record<string, any>} answer */
function progressText({ state, done, total, seconds_left: left, message }) {
  if (state === "idle") return message ?? "";
  const parts = [`${done} of ${total} points`];
  if (state === "running" && duration(left)) parts.push(duration(left));
  if (state !== "running") parts.push(message ?? state);
  return parts.join(" · ");
}
