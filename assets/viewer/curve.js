// @ts-check
// The interpolation curve, drawn as SVG in its own pixels: points as they come, both ends, the best, the present alpha.

import { alphaText, clamp, el, known, setAttribute, setText, svg } from "./dom.js";
import { METRICS, formatMetric } from "./sweep.js";

const BEST_ROOM = 148; // pixels for "best 42.8 % at 0.80"
const MARGIN = { left: 64, right: 24, top: 24, bottom: 44 };
const TICKS_X = [0, 0.25, 0.5, 0.75, 1];
const LABEL_GAP = 14;
const LEAST_HEIGHT = 120;

// Round steps (1, 2 or 5 times a power of ten) that give about `count` ticks.
export function niceTicks(low, high, count = 6) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) ticks.push(value);
  return { ticks, step };
}

export class Curve {
  constructor(/** @type {import("./state.js").View} */ view) {
    this.view = view;
    this.hover = null;
    this.height = 280;
    this.build();
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.root);
    view.on("sweep settings data", () => this.draw());
    view.on("mixture", () => this.moveCursor());
  }

  get metric() {
    return METRICS[this.view.settings.metric] ? this.view.settings.metric : METRICS[this.view.data.metric] ? this.view.data.metric : "miou";
  }

  build() {
    this.frame = svg("g", { class: "axes" });
    this.ends = svg("g", { class: "ends" });
    this.line = svg("path", { class: "line" });
    this.dots = svg("g", { class: "dots" });
    this.bestMark = svg("g", { class: "best", "data-testid": "best" });
    this.extras = svg("g", { class: "extras", "data-testid": "extras" });
    this.hoverLine = svg("line", { class: "hover-line", visibility: "hidden" });
    this.cursor = svg("line", { class: "cursor" });
    this.cursorDot = svg("circle", { class: "cursor-dot", r: 7, "data-testid": "cursor-dot" });
    this.svg = svg("svg", { class: "curve", role: "img", tabindex: "0", "aria-label": "Interpolation curve: left and right go from one measured point to the next", "data-testid": "curve" },
      this.frame, this.ends, this.hoverLine, this.cursor, this.line, this.dots, this.bestMark, this.extras, this.cursorDot);
    this.read = el("p", { class: "curve-read", "data-testid": "curve-read" });
    this.empty = el("p", { class: "curve-empty", "data-testid": "curve-empty" });
    this.root = el("div", { class: "curve-box" }, this.svg, this.empty);
    this.listen();
  }

  listen() {
    const { svg: chart, view } = this;
    chart.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      chart.setPointerCapture(event.pointerId);
      view.emit("grab");
      view.hold();
      view.setAlpha(this.alphaAt(event));
    });
    chart.addEventListener("pointermove", (event) => {
      if (chart.hasPointerCapture(event.pointerId)) view.setAlpha(this.alphaAt(event));
      this.setHover(this.alphaAt(event));
    });
    for (const type of ["pointerup", "pointercancel"]) {
      chart.addEventListener(type, () => {
        if (view.moving) view.release();
      });
    }
    chart.addEventListener("pointerleave", () => this.setHover(null));
    chart.addEventListener("keydown", (event) => this.walk(event));
  }

  // From one measured point to the next, for those without a mouse.
  walk(event) {
    const { view } = this;
    const alphas = view.sweep.points.map((point) => point.alpha);
    const next = {
      ArrowLeft: alphas.filter((alpha) => alpha < view.alpha - 1e-6).at(-1), ArrowRight: alphas.find((alpha) => alpha > view.alpha + 1e-6),
      Home: alphas[0], End: alphas.at(-1),
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    view.emit("grab");
    view.nudge(next, true);
  }

  alphaAt(event) {
    const box = this.svg.getBoundingClientRect();
    const along = ((event.clientX - box.left) * this.width) / (box.width || 1); // the page may show it larger than it is drawn
    return clamp((along - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right), 0, 1);
  }

  setHover(alpha) {
    this.hover = alpha;
    setAttribute(this.hoverLine, "visibility", alpha === null ? "hidden" : "visible");
    if (alpha !== null) this.vertical(this.hoverLine, alpha);
    this.showRead();
  }

  resized() {
    const width = Math.round(this.root.clientWidth);
    const fills = getComputedStyle(this.root).getPropertyValue("--fill") === "1"; // all the room that there is
    const height = fills ? Math.max(LEAST_HEIGHT, Math.round(this.root.clientHeight)) : width < 560 ? 248 : 280;
    if (!width || (width === this.width && height === this.height)) return;
    this.width = width;
    this.height = height;
    setAttribute(this.svg, "viewBox", `0 0 ${width} ${this.height}`);
    this.draw();
  }

  x(alpha) {
    return MARGIN.left + alpha * (this.width - MARGIN.left - MARGIN.right);
  }

  y(value) {
    const { low, high } = this.range;
    return this.height - MARGIN.bottom - ((value - low) / (high - low)) * (this.height - MARGIN.top - MARGIN.bottom);
  }

  // Everything drawn must fit, with air above for the label of the best point.
  findRange() {
    const { of } = METRICS[this.metric];
    const { sweep } = this.view;
    const values = [...sweep.points.map(of), ...["a", this.view.otherEnd(this.metric)].map((letter) => sweep.end(letter, this.metric)),
      ...this.view.mixture.extras().map((one) => of(one.figures))].filter(known);
    if (!values.length) return { low: 0, high: 1 };
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = Math.max((high - low) * 0.14, Math.abs(high) * 0.005, 1e-4);
    return { low: Math.max(0, low - 1.5 * room), high: high + 1.5 * room };
  }

  draw() {
    if (!this.width || !this.view.sweep) return;
    this.range = this.findRange();
    const points = this.view.sweep.points.filter((point) => known(METRICS[this.metric].of(point)));
    this.drawAxes();
    this.drawEnds();
    this.drawPoints(points);
    this.drawBest(points);
    this.drawExtras();
    this.moveCursor();
    this.showEmpty(points);
  }

  drawAxes() {
    const { width, height, range } = this;
    const percentages = METRICS[this.metric].unit === "%";
    const factor = percentages ? 100 : 1;
    const { ticks, step } = niceTicks(range.low * factor, range.high * factor);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const parts = ticks.flatMap((tick) => {
      const y = this.y(tick / factor);
      return [svg("line", { class: "gridline", x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }),
        svg("text", { x: MARGIN.left - 10, y: y + 4, "text-anchor": "end" }, tick.toFixed(digits))];
    });
    for (const tick of TICKS_X) {
      parts.push(svg("line", { class: "tickline", x1: this.x(tick), x2: this.x(tick), y1: height - MARGIN.bottom, y2: height - MARGIN.bottom + 5 }));
      parts.push(svg("text", { x: this.x(tick), y: height - MARGIN.bottom + 20, "text-anchor": "middle" }, String(tick)));
    }
    const axis = { y: height - 6, class: "axis-label" };
    parts.push(svg("line", { class: "baseline", x1: MARGIN.left, x2: width - MARGIN.right, y1: height - MARGIN.bottom, y2: height - MARGIN.bottom }),
      svg("text", { ...axis, x: (this.x(0) + this.x(1)) / 2, "text-anchor": "middle" }, "alpha (weight of A)"),
      svg("text", { ...axis, x: this.x(0), class: "axis-label end-b", "text-anchor": "middle" }, this.view.members.length > 2 ? "others" : "B"),
      svg("text", { ...axis, x: this.x(1), class: "axis-label end-a", "text-anchor": "middle" }, "A"),
      svg("text", { x: MARGIN.left - 10, y: 12, "text-anchor": "end", class: "axis-label" }, METRICS[this.metric].unit));
    this.frame.replaceChildren(...parts);
  }

  // Each checkpoint's own score: its label stands at its own end of the axis.
  drawEnds() {
    const parts = [];
    for (const pane of ["a", "b"]) {
      const letter = pane === "a" ? pane : this.view.otherEnd(this.metric);
      const value = this.view.sweep.end(letter, this.metric);
      if (!known(value)) continue;
      const y = this.y(value);
      const at = pane === "a" ? { x: this.x(1) - 8, "text-anchor": "end" } : { x: this.x(0) + 8, "text-anchor": "start" };
      parts.push(svg("line", { class: `end-line line-${pane}`, x1: this.x(0), x2: this.x(1), y1: y, y2: y }),
        svg("text", { ...at, y: this.endLabelY(pane, y), class: `halo end-${pane}` }, `${letter.toUpperCase()} ${formatMetric(this.metric, value)}`));
    }
    this.ends.replaceChildren(...parts);
  }

  // Above its line, or below when the curve leaves this end upwards.
  endLabelY(pane, y) {
    const points = this.view.sweep.points.filter((point) => known(METRICS[this.metric].of(point)));
    const near = pane === "a" ? points.at(-2) : points[1];
    const rises = near && this.y(METRICS[this.metric].of(near)) < y;
    const below = y + LABEL_GAP + 4;
    return rises && below < this.height - MARGIN.bottom - 2 ? below : y - LABEL_GAP + 6;
  }

  drawPoints(points) {
    const { of } = METRICS[this.metric];
    const steps = points.map((point, place) => `${place ? "L" : "M"}${this.x(point.alpha).toFixed(1)} ${this.y(of(point)).toFixed(1)}`);
    setAttribute(this.line, "d", steps.join(" ") || "M0 0");
    this.dots.replaceChildren(...points.map((point) => svg("circle", { cx: this.x(point.alpha), cy: this.y(of(point)), r: points.length > 30 ? 3 : 4 })));
  }

  // Merges beside the curve: a diamond each, at its mean weight.
  drawExtras() {
    const { of } = METRICS[this.metric];
    const shown = this.view.mixture.extras().filter((one) => known(of(one.figures))).map((one) => ({ ...one, x: this.x(one.mean), y: this.y(of(one.figures)) }));
    const diamonds = shown.map(({ x, y, key, of: curve, figures }) => {
      const half = curve && curve !== key ? 4 : 8; // points of a curve are small, the profile itself is not
      return svg("path", { class: "extra", d: `M${x} ${y - half}L${x + half} ${y}L${x} ${y + half}L${x - half} ${y}Z` }, svg("title", {}, formatMetric(this.metric, of(figures))));
    });
    this.extras.replaceChildren(...this.extraLines(shown), ...diamonds);
  }

  // Those that belong together, in order along the axis.
  extraLines(shown) {
    const curves = new Map();
    for (const one of shown.filter(({ of: curve }) => curve)) curves.set(one.of, [...(curves.get(one.of) ?? []), one]);
    return [...curves.values()].map((points) => {
      const steps = points.sort((one, other) => one.x - other.x).map(({ x, y }, place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`);
      return svg("path", { class: "extra-line", d: steps.join(" "), "data-points": points.length });
    });
  }

  drawBest(points) {
    const best = points.length > 1 ? this.view.sweep.best(this.metric) : null;
    if (!best || !known(best.value)) return this.bestMark.replaceChildren();
    setAttribute(this.bestMark, "data-alpha", best.alpha);
    const x = this.x(best.alpha);
    const y = this.y(best.value);
    // At an end the label of that checkpoint says the same value in the same place.
    if ((best.alpha < 0.02 || best.alpha > 0.98) && this.width < 720) {
      return this.bestMark.replaceChildren(svg("circle", { cx: x, cy: y, r: 6 }, svg("title", {}, `best ${formatMetric(this.metric, best.value)}`)));
    }
    const [side, away] = best.alpha > 0.5 ? ["end", -10] : ["start", 10]; // beside the line of the present alpha, never on it
    const room = best.alpha > 0.5 ? x : this.width - x; // where it is short the point's place says the alpha
    const where = room < BEST_ROOM ? "" : ` at ${alphaText(best.alpha)}`;
    const below = METRICS[this.metric].better < 0;
    const text = svg("text", { x: x + away, y: below ? y + 24 : y - 12, "text-anchor": side, class: "halo" }, `best ${formatMetric(this.metric, best.value)}${where}`);
    this.bestMark.replaceChildren(svg("circle", { cx: x, cy: y, r: 6 }), text);
    const long = text.getComputedTextLength(); // within the chart, however narrow that is
    return setAttribute(text, "x", side === "end" ? Math.max(long + 2, x + away) : Math.min(this.width - long - 2, x + away));
  }

  vertical(line, alpha) {
    const x = this.x(alpha);
    for (const [name, value] of [["x1", x], ["x2", x], ["y1", MARGIN.top - 8], ["y2", this.height - MARGIN.bottom]]) line.setAttribute(name, value);
  }

  moveCursor() {
    if (!this.width || !this.range) return;
    const { alpha, sweep } = this.view;
    this.vertical(this.cursor, alpha);
    const here = sweep.at(alpha, this.metric);
    setAttribute(this.cursorDot, "visibility", here ? "visible" : "hidden");
    if (here) {
      this.cursorDot.setAttribute("cx", this.x(alpha));
      this.cursorDot.setAttribute("cy", this.y(here.value));
      this.cursorDot.classList.toggle("between", Boolean(here.between));
    }
    this.showRead();
  }

  // Says whether the number was measured or only lies on the line between two measurements.
  showRead() {
    const { sweep, alpha } = this.view;
    const at = this.hover ?? alpha;
    const point = this.hover === null ? null : sweep.nearest(at);
    const snapped = point && Math.abs(point.alpha - at) * (this.width ?? 0) < 6 ? point.alpha : at;
    const here = sweep.at(snapped, this.metric);
    const lead = `${this.view.mixture.lead} ${alphaText(Number(snapped.toFixed(2)))}`;
    if (!here) return setText(this.read, `${lead}  ·  not measured`);
    const how = here.between ? `interpolated between ${alphaText(here.between[0])} and ${alphaText(here.between[1])}` : "measured";
    return setText(this.read, `${lead}  ·  ${METRICS[this.metric].label} ${formatMetric(this.metric, here.value, 2)}  ·  ${how}`);
  }

  showEmpty(points) {
    const { sweep, data } = this.view;
    const many = sweep.answer.images;
    this.empty.hidden = points.length > 0;
    if (sweep.running) setText(this.empty, "Measuring the first point");
    else if (sweep.points.length) setText(this.empty, `No ${METRICS[this.metric].label.toLowerCase()} in the measured points`);
    else setText(this.empty, data.labelled ? `No points yet – measure the curve over ${many ? `${many} pictures` : "the whole split"}` : data.live ? "No ground truth: a curve needs labelled pictures" : "A curve needs the network and labelled pictures");
  }

  dispose() {
    this.observer.disconnect();
  }
}
