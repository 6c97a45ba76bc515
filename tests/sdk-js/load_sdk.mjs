// Loads the package as it was published: node --import load_sdk.mjs. Its build names its own modules without
// extension, which bundlers resolve and Node does not.
import { register } from "node:module";

register("./resolve.mjs", import.meta.url);
