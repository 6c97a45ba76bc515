// The worker side of Sojourn: write a class, call serve, and each of its instances serves one session.
//
//     import { App, serve } from "sojourn";
//
//     class Counter extends App {
//       run() {
//         const count = this.session.state.get("count", 0) + 1;
//         this.session.state.set("count", count);
//         return { count };
//       }
//     }
//
//     serve(Counter);

export { App } from "./lib/app.js";
export { AppError, NotSerializable } from "./lib/error.js";
export { serve, version } from "./lib/worker.js";
