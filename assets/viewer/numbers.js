// @ts-check
// The headline: the whole split at the nearest measured alpha against A and B, and the present picture live.

import { bare, el, known, percent, plural, setAttribute, setText, signed } from "./dom.js";
import { reduced } from "./panes.js";
import { METRICS } from "./sweep.js";

export class Numbers {
  constructor(/** @type {import("./state.js").View} */ view, loader) {
    this.view = view;
    this.loader = loader;
    this.tiles = Object.fromEntries(Object.keys(METRICS).map((metric) => [metric, tile(METRICS[metric].label, metric)]));
    this.live = tile("This picture", "picture");
    this.root = el("section", { class: "numbers", "aria-label": "Scores" }, ...Object.values(this.tiles).map((one) => one.root), this.live.root);
    view.on("mixture sweep data frame bundle picture", () => this.show());
    this.show();
  }

  show() {
    const { data } = this.view;
    const measured = this.view.measured();
    for (const [metric, one] of Object.entries(this.tiles)) this.showMetric(metric, one, measured);
    this.showPicture(data.live ? this.loader.shown : null);
  }

  showPicture(bundle) {
    const scores = bundle?.m?.scores;
    setText(this.live.label, this.view.name || "This picture");
    setAttribute(this.live.root, "title", this.view.name);
    setText(this.live.where, ["live mIoU", known(scores?.pixel_accuracy) ? `${percent(scores.pixel_accuracy)} right` : "", reduced(bundle?.m)].filter(Boolean).join(" · "));
    setText(this.live.value, percent(scores?.miou));
    this.live.deltas.replaceChildren(...["a", "b"].map((pane) =>
      against({ name: this.view.letterOf(pane).toUpperCase(), value: bundle?.[pane]?.scores?.miou, tone: `name-${this.view.letterOf(pane)}` }, scores?.miou, "miou")));
    setAttribute(this.live.root, "data-alpha", bundle?.m?.mixture);
  }

  showMetric(metric, one, measured) {
    const first = measured ? null : this.firstLook();
    if (first) return this.showFirst(metric, one, first);
    const value = measured ? METRICS[metric].of(measured.point) : null;
    const loss = metric === "loss";
    const images = this.view.sweep?.answer.images;
    const tiled = measured?.point.tiled ? `, ${measured.point.tiled} in tiles` : "";
    setText(one.where, measured ? `${measured.where}${images ? `, ${plural(images, "picture")}${tiled}` : ""}` : "not measured");
    setText(one.value, loss ? (known(value) ? value.toFixed(3) : "–") : percent(value));
    one.deltas.replaceChildren(...this.view.mixture.rivals(metric).map((rival) => against(rival, value, metric)));
  }

  // What is known of the first pictures of a longer split, at its ends and in the middle, while the whole is not.
  firstLook() {
    const { data, mixture } = this.view;
    const point = mixture.onCurve && data.first?.points[mixture.alpha];
    return point ? { ...data.first, point } : null;
  }

  showFirst(metric, one, { images, whole, point, points }) {
    const { of } = METRICS[metric];
    setText(one.where, `first ${images} of ${whole} pictures`);
    setText(one.value, metric === "loss" ? of(point)?.toFixed(3) ?? "–" : percent(of(point)));
    one.deltas.replaceChildren(...[["A", 1, "name-a"], ["B", 0, "name-b"]].map(([name, at, tone]) =>
      against({ name, value: of(points[at]), tone }, of(point), metric)));
  }
}

function tile(label, id) {
  const parts = {
    label: el("span", { class: "tile-name" }, label),
    where: el("span", { class: "tile-where" }),
    value: el("div", { class: "tile-value", "data-testid": `value-${id}` }),
    deltas: el("div", { class: "tile-deltas" }),
  };
  parts.root = el("div", { class: "tile", "data-testid": `tile-${id}` }, el("div", { class: "tile-label" }, parts.label, parts.where), parts.value, parts.deltas);
  return parts;
}

function against({ name, value: end, tone: rival }, value, metric) {
  const loss = metric === "loss";
  const node = el("span", { class: "against" }, el("b", { class: rival }, name), ` ${loss ? (known(end) ? end.toFixed(3) : "–") : bare(end)}`);
  if (known(end) && known(value)) {
    const change = value - end;
    const good = METRICS[metric].better * change;
    node.append(" ", el("span", { class: tone(good, 5e-4) }, loss ? signed(change, 3) : signed(100 * change)));
  }
  return node;
}

export const tone = (good, least) => (good > least ? "better" : good < -least ? "worse" : "same");
