// @ts-check
// The sweep over alpha: asked from the server, and the arithmetic on its points.

import { known } from "./dom.js";
import { LETTERS } from "./pane-registry.js";
import { Watched } from "./watched.js";

const WIDEST = 0.5 + 1e-6; // a wider gap between two measured points is not bridged
const SAME = 5e-4; // alphas travel with three digits

export const METRICS = {
  miou: { label: "mIoU", unit: "%", of: (point) => point.miou, better: 1 },
  pixel_accuracy: { label: "Pixel accuracy", unit: "%", of: (point) => point.pixel_accuracy, better: 1 },
  loss: { label: "Loss", unit: "nats", of: (point) => point.loss, better: -1 },
};

export const formatMetric = (metric, value, digits = 1) => {
  if (!known(value)) return "–";
  return METRICS[metric].unit === "%" ? `${(100 * value).toFixed(digits)} %` : `${value.toFixed(digits + 2)} nats`;
};

export class Sweep extends Watched {
  constructor(/** @type {import("./state.js").View} */ view) {
    super(view);
    this.points = [];
    Object.assign(this.answer, { best: null, images: null });
    view.sweep = this;
    this.poll();
  }

  get url() {
    return `${this.view.data.base}/sweep`;
  }

  forget() {
    const { images } = this.answer;
    super.forget();
    this.points = [];
    Object.assign(this.answer, { best: null, images });
    this.view.emit("sweep");
    this.poll();
  }

  start(step) {
    return this.ask(() => this.order(this.url, { step }));
  }

  measure(alpha) {
    return this.ask(() => this.order(this.url, { alpha }));
  }

  cancel() {
    return this.ask(() => this.send(this.url, { method: "DELETE" }));
  }

  // After an order the state may still be the old one for a moment; the poll that follows sees the new one.
  async ask(order) {
    await order();
    await this.poll();
  }

  taken(ended) {
    this.points = (this.answer.points ?? []).filter((point) => known(point.alpha)).sort((one, other) => one.alpha - other.alpha);
    this.view.emit("sweep");
    if (ended) this.tell();
  }

  // The measured point closest to alpha, or null.
  nearest(alpha) {
    let best = null;
    for (const point of this.points) if (!best || Math.abs(point.alpha - alpha) < Math.abs(best.alpha - alpha)) best = point;
    return best;
  }

  measuredAt(alpha) {
    const point = this.nearest(alpha);
    return point && Math.abs(point.alpha - alpha) < SAME ? point : null;
  }

  // A checkpoint by itself, with its own statistics: under some buffer policies the curve's ends are not that.
  own(letter) {
    return this.answer[letter] ?? null;
  }

  // Score of a checkpoint itself: measured with the curve, else what the workspace knows.
  end(letter, metric) {
    const figures = this.own(letter);
    const measured = figures && METRICS[metric].of(figures);
    return known(measured) ? measured : this.view.members[LETTERS.indexOf(letter)]?.[metric] ?? null;
  }

  // {value, between}: on the curve at alpha; `between` is null at a measured point.
  at(alpha, metric) {
    const { of } = METRICS[metric];
    const measured = this.measuredAt(alpha);
    if (measured && known(of(measured))) return { value: of(measured), between: null };
    const usable = this.points.filter((point) => known(of(point)));
    const above = usable.findIndex((point) => point.alpha > alpha);
    if (above <= 0) return null;
    const [low, high] = [usable[above - 1], usable[above]];
    if (high.alpha - low.alpha > WIDEST) return null; // the ends alone say nothing of what lies between them
    const share = (alpha - low.alpha) / (high.alpha - low.alpha);
    return { value: of(low) + share * (of(high) - of(low)), between: [low.alpha, high.alpha] };
  }

  // All figures at alpha read off the straight lines between measured points; null at a measured point or outside them.
  between(alpha) {
    if (this.measuredAt(alpha)) return null;
    const figures = Object.keys(METRICS).map((metric) => [metric, this.at(alpha, metric)?.value ?? null]);
    return figures.some(([, value]) => known(value)) ? { alpha, ...Object.fromEntries(figures) } : null;
  }

  best(metric) {
    const { of, better } = METRICS[metric];
    if (metric === "miou" && this.answer.best) return { alpha: this.answer.best.alpha, value: this.answer.best.miou };
    let best = null;
    for (const point of this.points) {
      if (known(of(point)) && (!best || better * (of(point) - best.value) > 0)) best = { alpha: point.alpha, value: of(point) };
    }
    return best;
  }
}
