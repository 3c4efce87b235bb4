// @ts-check
// The component of the sidebar on every page: the button that presents, the story, and the first steps.

import { button } from "./dom.js";
import { presenter } from "./present.js";
import { showTour } from "./tour.js";

export default function mount({ data, parentElement, setTriggerValue }) {
  presenter().take(data.steps ?? []);
  if (!parentElement.querySelector("button")) {
    parentElement.append(button("Present", () => presenter().toggle(), { "data-testid": "present", title: "Full screen, with the story: key f" }));
  }
  showTour(data.tour === true, () => setTriggerValue("dismissed", true));
}
