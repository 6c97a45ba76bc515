// What test_official.py has started, and the SDK's client for it.
import { open } from "node:fs/promises";
import { test as nodeTest } from "node:test";

import { createClient } from "@inferencesh/sdk";

export const { SOJOURN_URL: url, SDK_JS_KEY: key, SDK_JS_MODEL: model, SDK_JS_GATES: gates } = process.env;

/** A promise of the SDK that never settles is a failure, not an endless run. */
export const test = (name, body) => nodeTest(name, { timeout: 60_000 }, body);

export function client(options = {}) {
  return createClient({ apiKey: key, baseUrl: url, ...options });
}

export const inference = client();

export const sessionTest = (name, input, more = {}) =>
  inference.run({ app: "session-test", function: name, input, session: "new", ...more });

/** The error that a promise is rejected with. */
export async function rejection(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

/** Opens a named pipe that a call of the app `probe` reads, once it does. Each has a name of its own. */
export const gate = (name) => open(`${gates}/${name}`, "w");

export async function until(condition) {
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
