// Brings the present picture, its truth and the frames of the three network panes together.
//
// A bundle holds what belongs to ONE picture. The old bundle stays on screen until the new picture is there, so that a
// mask never lies over the wrong picture.

import { FrameCache, Lane, Trouble, decodeLabelMap, request, wishAlone } from "./frames.js";

const KEPT_PICTURES = 16;

export class Loader {
  constructor(view) {
    this.view = view;
    this.cache = new FrameCache();
    this.pictures = new Map();
    this.shown = null;
    this.next = null;
    this.lanes = {};
    view.framed = () => !this.target || this.troubled.has("m") || this.target.m?.mixture === view.wish()?.mixture;
    this.troubled = new Set(); // panes whose last wish failed: an answer to another one does not mend that
    for (const pane of ["a", "m", "b"]) {
      this.lanes[pane] = new Lane(pane, this.cache, (frame, job) => this.arrived(pane, frame, job), (error) => this.trouble(error, pane));
    }
    view.on("mixture", () => this.wantMerge());
    view.on("picture", () => this.open());
    view.on("data", (before) => this.dataChanged(before));
    view.on("settled", () => this.wantEnds());
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
    const bundle = { base: data.base, index, picture: null, truth: null, a: null, m: null, b: null };
    this.next = bundle;
    this.assets(bundle.base, index).then((assets) => this.present(bundle, assets));
    this.wantMerge();
    this.wantEnds();
  }

  wantMerge() {
    if (!this.target || !this.view.data.live) return;
    const wish = this.view.wish();
    if (wish) this.lanes.m.want(this.target.base, this.target.index, wish);
  }

  wantEnds() {
    if (!this.target || !this.view.data.live) return;
    for (const pane of ["a", "b"]) {
      if (!this.target[pane]) this.lanes[pane].want(this.target.base, this.target.index, wishAlone(this.view.letterOf(pane)));
    }
    if (this.target.missing) this.retryPicture(this.target);
  }

  // The old mask stays until the other checkpoint's is there.
  otherChanged() {
    if (this.target && this.view.data.live) this.lanes.b.want(this.target.base, this.target.index, wishAlone(this.view.letterOf("b")));
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
    if (pane === "m") this.view.timing = { cached: job.cached, took: frame.took, from: frame.scores.from, ...frame.scores.ms };
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
    const [picture, truth] = await Promise.all([
      fetchPicture(base, index).catch(complain),
      this.view.hasTruth ? fetchTruth(base, index).catch(complain) : null,
    ]);
    return { picture, truth, missing: picture === null };
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
