// @ts-check
// Brings the present picture, its truth and the frames of the panes that are asked for together.
//
// A bundle holds what belongs to ONE picture. The old bundle stays on screen until the new picture is there, so that a
// mask never lies over the wrong picture.

import { FrameCache, Lane, Trouble, decodeLabelMap, partsOf, request } from "./frames.js";
import { doubts, serves, wishFor } from "./lenses-doubt.js";
import { PANES, framed } from "./pane-registry.js";

const KEPT_PICTURES = 16;

export class Loader {
  constructor(/** @type {import("./state.js").View} */ view) {
    this.view = view;
    this.cache = new FrameCache();
    this.pictures = new Map();
    this.shown = null;
    this.next = null;
    this.lanes = {};
    view.framed = () => !this.target || this.troubled.has("m") || this.target.m?.mixture === view.wish()?.mixture;
    this.troubled = new Set(); // panes whose last wish failed: an answer to another one does not mend that
    for (const { id } of framed()) {
      this.lanes[id] = new Lane(id, this.cache, (frame, job) => this.arrived(id, frame, job), (error) => this.trouble(error, id));
    }
    view.on("mixture", () => this.wantFollowers());
    view.on("picture", () => this.open());
    view.on("data", (before) => this.dataChanged(before));
    view.on("settled settings", () => this.wantOthers());
    view.on("settings", () => this.target && doubts(view.settings.lens) && this.wantFollowers());
    view.on("other", () => this.otherChanged());
  }

  get target() {
    return this.next ?? this.shown;
  }

  dataChanged(before) {
    const { data } = this.view;
    if (data.live !== before.live || data.base !== before.base) this.open();
  }

  open() {
    const { data, index } = this.view;
    if (!data.live || this.disposed) return;
    const bundle = { base: data.base, index, picture: null, t: null };
    this.next = bundle;
    this.assets(bundle.base, index).then((assets) => this.present(bundle, assets));
    this.wantFollowers();
    this.wantOthers();
  }

  serves({ id }) {
    return serves(this.target[id], this.view.settings.lens);
  }

  // Panes that nobody looks at cost nothing; those that are there from the first are ready before they are looked at.
  wanted(/** @type {import("./pane-registry.js").PaneKind} */ { id, optional }) {
    return !optional || this.view.uses(id);
  }

  wantFollowers() {
    for (const kind of framed()) if (kind.follows && this.wanted(kind)) this.want(kind);
  }

  wantOthers() {
    if (!this.target || !this.view.data.live) return;
    for (const kind of framed()) if (!kind.follows && !this.serves(kind) && this.wanted(kind)) this.want(kind);
    if (this.target.missing) this.retryPicture(this.target);
  }

  want(/** @type {import("./pane-registry.js").PaneKind} */ { id, wish }) {
    if (!this.target || !this.view.data.live) return;
    const wished = wishFor(this.view.settings.lens, wish(this.view));
    if (wished) this.lanes[id].want(this.target.base, this.target.index, wished);
  }

  // The old mask stays until the other checkpoint's is there.
  otherChanged() {
    this.want(PANES.get("b"));
  }

  retryPicture(bundle) {
    this.pictures.delete(`${bundle.base}/${bundle.index}`);
    bundle.missing = false;
    this.assets(bundle.base, bundle.index).then((assets) => this.present(bundle, assets));
  }

  arrived(pane, frame, job) {
    for (const bundle of [this.shown, this.next]) {
      if (bundle && bundle.base === job.base && bundle.index === job.index) bundle[pane] = frame;
    }
    this.troubled.delete(pane);
    if (!this.troubled.size) this.view.emit("recovered");
    if (pane === "m") this.view.timing = { cached: job.cached, took: frame.took, from: frame.scores.from, ...partsOf(frame.scores.ms, frame.took) };
    if (this.shown?.[pane] === frame) this.view.emit("frame", pane);
  }

  present(bundle, assets) {
    if (this.disposed || (this.next !== bundle && this.shown !== bundle)) return;
    Object.assign(bundle, assets);
    this.shown = bundle;
    if (this.next === bundle) this.next = null;
    this.view.emit("bundle");
    this.ahead();
  }

  // The next picture is small beside a frame and is what the user most likely opens next.
  ahead() {
    const { data, index } = this.view;
    if (index + 1 < data.count) this.assets(data.base, index + 1, true);
  }

  assets(base, index, quiet = false) {
    const key = `${base}/${index}`;
    let promise = this.pictures.get(key);
    if (!promise) {
      promise = this.fetchAssets(base, index, quiet);
      this.pictures.set(key, promise);
      if (this.pictures.size > KEPT_PICTURES) this.pictures.delete(this.pictures.keys().next().value);
    }
    return promise;
  }

  async fetchAssets(base, index, quiet) {
    const key = `${base}/${index}`;
    const complain = (error) => {
      this.pictures.delete(key);
      if (!quiet) this.trouble(error);
      return null;
    };
    const [picture, t] = await Promise.all([
      fetchPicture(base, index).catch(complain),
      this.view.hasTruth ? fetchTruth(base, index).catch(complain) : null,
    ]);
    return { picture, t, missing: picture === null };
  }

  trouble(error, pane) {
    if (this.disposed) return;
    if (pane) this.troubled.add(pane);
    const known = error instanceof Trouble ? error : new Trouble(`a frame that cannot be read (${error.message})`, "a PNG label map", "move the slider to try again");
    this.view.emit("trouble", known);
  }

  dispose() {
    this.disposed = true;
    for (const lane of Object.values(this.lanes)) lane.stop();
    this.pictures.clear();
  }
}

async function fetchPicture(base, index) {
  const response = await request(`${base}/picture/${index}`);
  return createImageBitmap(await response.blob());
}

async function fetchTruth(base, index) {
  const response = await fetch(`${base}/truth/${index}`);
  return response.ok ? decodeLabelMap(await response.blob()) : null; // 404: this picture has no labels
}
