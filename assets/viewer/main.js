// The component of the Explore page.

import { Instance, mountOf } from "./instance.js";

export default mountOf(Instance);
