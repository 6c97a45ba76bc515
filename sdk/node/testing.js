// Try an app without a server: this starts its real process and plays the server's part of the protocol.
//
//     import { start } from "sojourn/testing";
//
//     const worker = await start("apps/counter/main.js");
//     const { output } = await worker.call("increment", { key: "a" });
//     await worker.close();

import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { FrameReader, encode, toServerBytes } from "./lib/connection.js";
import { AppError, fromFields } from "./lib/error.js";

/** Starts an app, given its JavaScript file, and opens a session: `opening` has fields of `open`, such as context,
 * state, setup and restored. Rejects as the app's setup fails. */
export async function start(file, opening = {}) {
  const worker = new Worker(file);
  try {
    await worker.hello();
    await worker.open(opening);
  } catch (error) {
    await worker.kill();
    throw error;
  }
  return worker;
}

/** One worker process, seen from its server. */
export class Worker {
  /** The state as the server would have committed it. */
  state = {};
  #reader = new FrameReader(toServerBytes);
  #frames = [];
  #waiting = [];
  #requests = 0;
  #socket;
  #printed; // a file without a name
  #output = null; // all of it, once the process is gone
  #ended = false;
  #patience;

  /** `spare`: as a server starts one that is to wait for its session. */
  constructor(file, { patience = 20_000, args = [], spare = false } = {}) {
    const main = path.resolve(file);
    this.#patience = patience;
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), "sojourn-"));
    const printed = path.join(this.folder, "printed");
    this.#printed = fs.openSync(printed, "w+");
    fs.unlinkSync(printed);
    this.process = spawn(process.execPath, [...args, main], {
      cwd: spare ? path.dirname(main) : this.folder,
      env: {
        PATH: process.env.PATH,
        SOJOURN_PROTOCOL: "1",
        ...(spare ? {} : { SOJOURN_SESSION: "sess_test" }),
        SOJOURN_APP: path.parse(main).name,
        SOJOURN_APP_DIR: path.dirname(main),
      },
      stdio: ["ignore", this.#printed, this.#printed, "pipe"],
    });
    /** Resolves with the process's exit code, or the name of the signal that killed it. */
    this.exited = new Promise((resolve) => this.process.on("exit", (code, signal) => resolve(code ?? signal)));
    this.#socket = this.process.stdio[3];
    this.#socket.on("data", (data) => this.#take(data));
    for (const event of ["end", "close", "error"]) this.#socket.on(event, () => this.#end());
  }

  async hello() {
    this.send({ type: "hello", protocol: 1, server: "sojourn/testing" });
    return this.expect("hello");
  }

  async open(fields = {}) {
    const opening = { session: "sess_test", context: {}, setup: null, state: {}, restored: false, app_version: "0" };
    const frame = { type: "open", ...opening, folder: this.folder, ...fields };
    this.state = structuredClone(frame.state);
    this.send(frame);
    await this.#answer("ready", []);
  }

  /** Calls a function and waits for its end, saving checkpoints as they come. Rejects as the call fails. */
  async call(fn = "run", input = null, fields = {}) {
    return this.finish(this.begin(fn, input, fields));
  }

  /** Sends a call and returns its request id. */
  begin(fn = "run", input = null, fields = {}) {
    this.#requests += 1;
    const request_id = `task_${this.#requests}`;
    const frame = { type: "call", request_id, function: fn, input, state_set: {}, state_deleted: [] };
    Object.assign(frame, { deadline_ms: 600_000 }, fields);
    this.#commit(frame);
    this.send(frame);
    return request_id;
  }

  async finish(requestId) {
    const before = [];
    const frame = await this.#answer("result", before);
    if (frame.request_id !== requestId) throw new Error(`an answer to ${frame.request_id}, not to ${requestId}`);
    this.#commit(frame);
    return {
      output: frame.output,
      stateSet: frame.state_set ?? {},
      stateDeleted: frame.state_deleted ?? [],
      events: frame.events ?? [],
      end: frame.end ?? false,
      before,
    };
  }

  /** Closes the session; resolves with the failures of its clean-up. The process has ended with 0 then. */
  async close(reason = "ended") {
    this.send({ type: "close", reason });
    const { failures } = await this.#answer("closed", []);
    const code = await this.exited;
    if (code !== 0) throw new Error(`the worker exited with ${code}: ${this.output()}`);
    await this.kill();
    return failures;
  }

  /** Kills the process, as a fault would; then start(file, {state: worker.state, restored: true}) goes on. */
  async crash() {
    this.process.kill("SIGKILL");
    await this.exited;
  }

  /** Ends the process, if it still runs, and removes its folder. */
  async kill() {
    await this.crash();
    if (this.#output !== null) return;
    this.#output = this.output();
    fs.closeSync(this.#printed);
    this.#socket.destroy();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  /** What the process wrote to standard output and standard error so far. */
  output() {
    if (this.#output !== null) return this.#output;
    const bytes = Buffer.alloc(fs.fstatSync(this.#printed).size);
    fs.readSync(this.#printed, bytes, 0, bytes.length, 0);
    return bytes.toString();
  }

  /** Closes the server's end of the socket. */
  hangUp() {
    this.#socket.destroy();
  }

  send(frame) {
    this.sendRaw(encode(JSON.stringify(frame)));
  }

  sendRaw(bytes) {
    this.#socket.write(Buffer.from(bytes)); // a copy: what encode() returns is used again
  }

  /** The worker's next frame; null when it closed the socket. */
  receive() {
    if (this.#frames.length) return Promise.resolve(this.#frames.shift());
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`the worker sent nothing for ${this.#patience} ms: ${this.output()}`));
      const timer = setTimeout(late, this.#patience);
      this.#waiting.push((frame) => {
        clearTimeout(timer);
        resolve(frame);
      });
    });
  }

  async expect(type) {
    const frame = await this.receive();
    if (frame?.type === type) return frame;
    throw new Error(`the worker sent ${JSON.stringify(frame)}, not ${type}; its output: ${this.output()}`);
  }

  async #answer(type, before) {
    for (;;) {
      const frame = await this.receive();
      if (!frame) {
        throw new AppError("WORKER_LOST", `the worker exited with ${await this.exited}: ${this.output()}`);
      }
      if (frame.type === type) return frame;
      if (frame.type === "error") throw Object.assign(fromFields(frame), { before });
      before.push(frame);
      if (frame.type === "checkpoint") {
        this.#commit(frame);
        this.send({ type: "saved", request_id: frame.request_id });
      }
      if (frame.type === "resource" && "n" in frame) this.send({ type: "noted", n: frame.n });
    }
  }

  #commit(frame) {
    Object.assign(this.state, frame.state_set);
    for (const key of frame.state_deleted ?? []) delete this.state[key];
  }

  #take(data) {
    this.#reader.push(data, data.length);
    for (let frame = this.#reader.next(); frame; frame = this.#reader.next()) this.#hand(frame);
    this.#reader.keep();
  }

  #hand(frame) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(frame);
    else this.#frames.push(frame);
  }

  #end() {
    if (this.#ended) return;
    this.#ended = true;
    for (const waiting of this.#waiting.splice(0)) waiting(null);
  }
}
