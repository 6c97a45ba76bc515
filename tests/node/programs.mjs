// Words for tests that need a program which serves.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";

import * as testing from "../../sdk/node/testing.js";

export const sdk = new URL("../../sdk/node", import.meta.url).pathname;

/** A file that serves `class X extends App` of this body; it goes with the test. */
export function program(test, body) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sojourn-test-"));
  test.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, "main.mjs");
  const head = `import { App, AppError, NotSerializable, serve } from ${JSON.stringify(path.join(sdk, "index.js"))};
import { setTimeout as sleep } from "node:timers/promises";
import fs from "node:fs";
const busy = (ms, until = () => false) => {
  for (const end = performance.now() + ms; performance.now() < end && !until(); );
};\n`;
  fs.writeFileSync(file, `${head}class X extends App {\n${body}\n}\nserve(X);\n`);
  return file;
}

/** A worker that nobody spoke to yet. */
export function started(test, body, options) {
  const worker = new testing.Worker(program(test, body), options);
  test.after(() => worker.kill());
  return worker;
}

/** A worker of an open session. */
export async function start(test, body, opening) {
  const worker = started(test, body);
  await worker.hello();
  await worker.open(opening);
  return worker;
}

/** The error with which a promise rejects. */
export async function errorOf(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("nothing failed");
}

export const types = (frames) => frames.map((frame) => frame.type);
