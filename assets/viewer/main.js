// @ts-check
// The component of the Explore page: alpha, or a registered method in its place.

import { alphaControls } from "./controls.js";
import { mountOf } from "./instance.js";
import { methodControls } from "./method.js";

export default mountOf((data) => (data.control ? methodControls : alphaControls));
