// Does on request what the end-to-end tests want to see of a worker in Node.

import fs from "node:fs";
import fsp from "node:fs/promises";
import path from "node:path";

import { App, AppError, serve } from "../../../../sdk/node/index.js";

class Probe extends App {
  async setup(setup) {
    this.begun = ["setup", setup];
  }

  restore() {
    this.begun = ["restore"];
  }

  echo(input) {
    return input;
  }

  count() {
    const { state } = this.session;
    state.set("count", state.get("count", 0) + 1);
    return state.get("count");
  }

  state() {
    return { state: Object.fromEntries(this.session.state), begun: this.begun, pid: process.pid };
  }

  /** Runs until the test closes the named pipe. */
  async hold(input) {
    return { held: await fsp.readFile(input.gate, "utf8") };
  }

  async wait(input, session) {
    session.state.set("waited", true);
    session.emit({ waiting: true });
    await new Promise((_, reject) => {
      session.signal.addEventListener("abort", () => reject(session.signal.reason));
    });
  }

  /** Keeps the thread busy, and asks. */
  spin(input, session) {
    session.emit({ waiting: true });
    while (!session.cancelRequested);
    throw new AppError("cancelled", "stopped by itself");
  }

  /** Keeps the thread busy, and never asks. */
  spin_blindly(input, session) {
    session.emit({ waiting: true });
    for (;;);
  }

  async *stream(input) {
    for (let n = 1; n <= input.count; n += 1) yield { n, text: "x".repeat(input.bytes ?? 0) };
  }

  /** Shows each line of the named pipe as a partial output. */
  async *gated(input) {
    const seen = [];
    const file = await fsp.open(input.gate);
    for await (const line of file.readLines()) {
      seen.push(line);
      yield { seen };
    }
    return { seen, done: true };
  }

  fail(input, session) {
    session.state.set("dropped", 1);
    throw new RangeError(`what went wrong: ${input}`);
  }

  refuse(input) {
    throw new AppError("queue_full", "not now", { retryable: true, details: { given: input } });
  }

  async checkpoint_then_fail(input, session) {
    session.state.set("before", 1);
    session.record("probe.halfway", { at: 1 });
    await session.checkpoint();
    session.state.set("after", 2);
    throw new Error("after the checkpoint");
  }

  leave(input) {
    console.error("last words");
    process.exit(input.code);
  }

  async stray() {
    setTimeout(() => {
      throw new RangeError("nobody catches this");
    });
    await new Promise(() => {});
  }

  say(input, session) {
    console.log("to standard output");
    console.error("to standard error");
    session.log.warn("to the log", { number: 7 });
  }

  /** Makes a folder for each name, whose clean-up is noted, and one thing that only this process can release. */
  async acquire(input, session) {
    const { folder, resources } = session;
    for (const name of input.names) {
      const made = path.join(folder, name);
      const close = () => {
        fs.rmdirSync(made);
        fs.appendFileSync(path.join(folder, "released"), `${name}\n`);
      };
      await resources.add({ id: name, kind: "folder", cost: 1, cleanup: { path: made }, close });
      fs.mkdirSync(made);
    }
    await resources.add({
      id: "closure",
      kind: "connection",
      close: async () => {
        if (input.fails) throw new Error("it does not let go");
      },
    });
  }

  async ask(input, session) {
    try {
      return { output: await session.callApp(input.app, input.function, input.input) };
    } catch (error) {
      return { code: error.code, typed: error instanceof AppError };
    }
  }

  end(input, session) {
    session.state.set("last", "word");
    session.end();
    return "bye";
  }

  unserializable() {
    return { a: [1, undefined] };
  }

  memory() {
    const read = (name) =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(fs.readFileSync("/proc/self/status"))[1]);
    return { peak_kib: read("VmPeak"), resident_kib: read("VmRSS") };
  }
}

serve(Probe);
