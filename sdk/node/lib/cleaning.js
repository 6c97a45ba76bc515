// The end of a worker: the app's onEnd where its session is over too, its unload, then what its resources hold, newest first; all are tried, whatever fails.

import { inspect } from "node:util";

import { readable } from "./error.js";
import { Resources } from "./resources.js";

export const closeSeconds = 30;

const over = new Set(["ended", "expired"]); // reasons to close after which the session does not go on

function* steps(app, session, reason) {
  if (over.has(reason) && typeof app?.onEnd === "function") {
    yield { id: "onEnd", kind: "app", close: () => app.onEnd(session, reason) };
  }
  if (typeof app?.unload === "function") yield { id: "unload", kind: "app", close: () => app.unload(session) };
  yield* Resources.newestFirst(session.resources);
}

/** Runs each step within its deadline; resolves with what failed. `reason`: why the server closes, if it does. */
export async function cleanUp(app, session, reason, seconds = closeSeconds) {
  const failures = [];
  for (const { id, kind, close } of steps(app, session, reason)) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${seconds} s`)), seconds * 1000);
    });
    try {
      await Promise.race([close(), late]);
    } catch (error) {
      failures.push({ id, kind, message: say(error) });
    }
    clearTimeout(timer);
  }
  return failures;
}

/** The same where the process exits at once: what is asynchronous is begun, but nothing waits for it. */
export function cleanUpAtOnce(app, session) {
  for (const { id, close } of steps(app, session)) {
    try {
      if (typeof close()?.then === "function")
        say(new Error(`the process exits before the clean-up of ${id} is done`));
    } catch (error) {
      say(error);
    }
  }
}

/** What went wrong, in words for the server; all of it goes to standard error. */
function say(error) {
  process.stderr.write(`${readable(error?.stack ?? inspect(error))}\n`);
  return readable(error instanceof Error ? `${error.name}: ${error.message}` : inspect(error));
}
