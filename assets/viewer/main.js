// The component of the Merge page.

import { Instance, mountOf } from "./instance.js";

export default mountOf(Instance);
