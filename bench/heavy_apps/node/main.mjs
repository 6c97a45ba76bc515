// The smallest app there is in JavaScript.

import { App, serve } from "../../../sdk/node/index.js";

class Smallest extends App {
  run() {
    return { pid: process.pid };
  }
}

serve(Smallest);
