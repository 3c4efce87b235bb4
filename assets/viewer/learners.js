// @ts-check
// Learners inside the merged network: which of them answer, how they are put together, and a pane of its own for each.
//
// The server keeps what all of them said last, so that a toggle takes no forward pass. Nothing of this is there for other networks.

import { button, el, option, setAttribute, setText } from "./dom.js";
import { addPane } from "./pane-registry.js";

export const MOST = 8; // learners, as the server counts panes of them

export const learnersOf = (view) => view.data.inside?.names ?? [];

// The learners that answer, by their numbers: all of them where nobody has chosen, or chose what is not there.
export function answering(view) {
  const all = learnersOf(view).map((_, number) => number);
  const kept = all.filter((number) => !view.settings.silent.includes(number));
  return kept.length ? kept : all;
}

/** @param {any} view @param {any} wish @param {number[]} kept @param {string} fusion */
function asked(view, wish, kept, fusion) {
  const names = learnersOf(view);
  const some = kept.length < names.length ? `, ${kept.map((number) => names[number]).join("+")}` : "";
  const query = `learners=${kept.join(",")}&${fusion ? `fusion=${encodeURIComponent(fusion)}&` : ""}`;
  const which = `+l${kept.join("_")}${fusion}`;
  return { ...wish, key: wish.key + which, mixture: wish.mixture + which, label: wish.label + some, query: wish.query + query };
}

const fusionOf = (view) => (view.data.inside?.fusions.some(({ name }) => name === view.settings.fusion) ? view.settings.fusion : "");

// What the merge is asked of. Beside panes of learners all of it comes out of one pass; several networks have none in common.
export function wishTogether(view, wish) {
  const names = learnersOf(view);
  if (!wish || !names.length) return wish;
  const [kept, fusion] = [answering(view), fusionOf(view)];
  const alone = names.some((_, number) => view.uses(`l${number}`));
  return kept.length < names.length || fusion || alone ? asked(view, wish, kept, fusion) : wish;
}

for (let number = 0; number < MOST; number++) {
  addPane({
    id: `l${number}`, source: "frame", network: true, follows: true, optional: true,
    offered: (view) => number < learnersOf(view).length,
    short: (view) => learnersOf(view)[number] ?? "",
    title: (view) => learnersOf(view)[number] ?? "",
    wish: (view) => (number < learnersOf(view).length && view.mixture.wish() ? { ...asked(view, view.mixture.wish(), [number], ""), pane: `l${number}` } : null),
  });
}

export class LearnersBar {
  constructor(/** @type {import("./state.js").View} */ view) {
    this.view = view;
    this.toggles = el("div", { class: "segments", role: "group", "aria-label": "Learners that answer" });
    this.fusion = el("select", {
      "aria-label": "How learners are put together", "data-testid": "fusion", on: { change: () => this.changed({ fusion: this.fusion.value }) },
    });
    this.apart = button("Side by side", () => this.sideBySide(), { class: "toggle", "data-testid": "learners-apart" });
    this.label = el("span", { class: "quiet-text" }, "Learners");
    this.root = el("section", { class: "toolbar learners", "aria-label": "Learners", "data-testid": "learners" },
      this.label, this.toggles, this.fusion, this.apart);
    view.on("settings data", () => this.show());
    this.show();
  }

  changed(patch) {
    this.view.change(patch);
    this.view.emit("mixture"); // the merge is asked for anew
  }

  toggle(number) {
    const kept = answering(this.view);
    const next = kept.includes(number) ? kept.filter((one) => one !== number) : [...kept, number];
    if (next.length) this.changed({ silent: learnersOf(this.view).map((_, one) => one).filter((one) => !next.includes(one)) });
  }

  apartNow() {
    const { view } = this;
    return view.settings.layout === "grid" && learnersOf(view).every((_, number) => view.shows(`l${number}`));
  }

  // Each learner beside the merge, and back.
  sideBySide() {
    const { view } = this;
    const panes = learnersOf(view).map((_, number) => `l${number}`);
    const there = this.apartNow();
    const others = view.settings.shown.filter((pane) => !panes.includes(pane));
    this.changed({ layout: "grid", shown: there ? (others.length > 1 ? others : ["a", "m", "b", "t"]) : ["m", ...panes, ...(view.hasTruth ? ["t"] : [])] });
  }

  build() {
    const { view } = this;
    const names = learnersOf(view);
    this.built = names.join();
    this.buttons = names.map((name, number) => button(name, () => this.toggle(number), { "data-testid": `learner-${number}` }));
    this.toggles.replaceChildren(...this.buttons);
    this.fusion.replaceChildren(...(view.data.inside?.fusions ?? []).map(({ name, title }) => option(name, title)));
  }

  show() {
    const { view } = this;
    this.root.hidden = !view.data.live || !learnersOf(view).length;
    if (this.root.hidden) return;
    if (this.built !== learnersOf(view).join()) this.build();
    const kept = answering(view);
    this.buttons?.forEach((one, number) => setAttribute(one, "aria-pressed", kept.includes(number)));
    this.fusion.value = fusionOf(view) || view.data.inside.own;
    if (!this.fusion.value) this.fusion.selectedIndex = 0;
    setAttribute(this.apart, "aria-pressed", this.apartNow());
    const all = kept.length === learnersOf(view).length && this.fusion.value === view.data.inside.own;
    setText(this.label, all ? "Learners" : "Learners, mask only");
    setAttribute(this.label, "title", all ? "" : "Scores of the data, the curve and what is written are those of the whole network");
  }
}
