// @ts-check
// The pane that the page holds the merge against is what the lenses compare with; whoever chooses another keeps it.
export function followReference(/** @type {import("./state.js").View} */ view) {
  let followed = null;
  const follow = () => {
    const { reference } = view.data.errors ?? {};
    if (!reference || reference === followed || !view.panes().includes(reference)) return;
    followed = reference;
    if (view.settings.reference !== reference) view.change({ reference });
  };
  view.on("data", follow);
  follow();
}
