// Serves one session: answers the server's frames, one call at a time.
//
// All runs on Node's one thread. While a call waits for something, the event loop reads the socket, so pings are
// answered and a cancel is seen at once; code that keeps the thread busy does so where it touches the session (poll).

import fs from "node:fs";
import path from "node:path";
import { inspect } from "node:util";

import { functionsOf, instantiate } from "./app.js";
import { cleanUp, cleanUpAtOnce } from "./cleaning.js";
import { Connection, Violation, toServerBytes } from "./connection.js";
import { AppError, checkedText, toFields, tooLarge } from "./error.js";
import { Call, Session, cancelledError } from "./session.js";
import { ledger } from "./state.js";
import { sizeOf, textOf } from "./values.js";

export const version = "0.1.0";

const protocol = 1;
const descriptor = 3;
const errorBytes = 1024 * 1024;
const capabilities = ["progress", "checkpoint", "cancel", "resources", "app_call", "spare"];
const gone = { error: { code: "unavailable", message: "the server is gone", retryable: true } };
const questions = {
  saved: () => "saved",
  noted: (frame) => `noted-${frame.n}`,
  app_result: (frame) => frame.call_id,
};

/** Serves the session for which a Sojourn server started this process, which exits when the session is closed. */
export function serve(app) {
  const functions = functionsOf(app);
  if (!hasServer()) {
    process.stderr.write(alone());
    process.exit(1);
  }
  new Worker(app, functions).begin();
}

function hasServer() {
  try {
    return process.env.SOJOURN_PROTOCOL !== undefined && fs.fstatSync(descriptor).isSocket();
  } catch {
    return false;
  }
}

function alone() {
  const name = path.basename(path.dirname(path.resolve(process.argv[1] ?? ""))) || "NAME";
  return `This is a Sojourn app. A server starts it, one process a session; by itself it has nobody to serve.
Put its folder, with an app.toml, into the folder of apps and run:

    sojourn serve --apps FOLDER
    sojourn run ${name} --session new --input '{}'

To try it without a server, see sojourn/testing.
(There is no socket on descriptor 3, or SOJOURN_PROTOCOL is not set.)
`;
}

class Worker {
  // Of the link that the session has to its server:
  call = null;
  closing = new AbortController();

  #type;
  #names;
  #connection;
  #app = null;
  #session = null;
  #step = "hello"; // what is expected next: hello, open, call; "" once it closes
  #working = false;
  #polling = false;
  #serverGone = false;
  #backlog = []; // arrived while the app worked
  #takers = new Map(); // questions to the server: their key and who waits for the answer

  constructor(type, names) {
    this.#type = type;
    this.#names = names;
  }

  begin() {
    process.on("SIGTERM", () => this.#leave(128 + 15));
    process.on("uncaughtException", (error) => this.#crash(error));
    process.on("exit", () => this.#exiting());
    this.#connection = new Connection(descriptor, (frame) => this.#take(frame));
  }

  // The session's link.

  send(text) {
    this.#connection.send(text);
  }

  /** Reads on for code that keeps the event loop from it. None of the app's code runs in here. */
  poll() {
    if (!this.#working) return;
    this.#polling = true;
    try {
      this.#connection.poll();
    } finally {
      this.#polling = false;
    }
  }

  ask(key, text) {
    if (this.#serverGone) return Promise.resolve(gone);
    return new Promise((resolve) => {
      this.#takers.set(key, resolve);
      this.send(text);
    });
  }

  // What arrives.

  #take(frame) {
    const type = frame?.type;
    if (type === "ping") {
      this.send(textOf({ type: "pong", n: frame.n }));
    } else if (type === "cancel") {
      if (this.call?.requestId === frame.request_id) this.#cancel(this.call);
    } else if (Object.hasOwn(questions, type ?? "")) {
      this.#answer(questions[type](frame), frame);
    } else {
      if (frame === null) this.#lose();
      this.#backlog.push(frame);
      if (!this.#working) this.#next();
    }
  }

  #answer(key, frame) {
    const taker = this.#takers.get(key);
    this.#takers.delete(key);
    taker?.(frame); // nobody waits any more for what a call left behind
  }

  /** The server is gone: whoever waits for it, or will, learns that; a call that runs shall stop. */
  #lose() {
    this.#serverGone = true;
    for (const key of [...this.#takers.keys()]) this.#answer(key, gone);
    if (this.call) this.#cancel(this.call);
  }

  #next() {
    while (!this.#working && this.#backlog.length) {
      try {
        this.#handle(this.#backlog.shift());
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        this.#violated(error);
      }
    }
  }

  #handle(frame) {
    if (frame instanceof Violation) throw frame;
    if (frame === null) return this.#leave(0);
    if (frame.type === this.#step) {
      if (frame.type === "hello") return this.#greet(frame);
      textField(frame, frame.type === "call" ? "request_id" : "session");
      return frame.type === "call" ? this.#serve(frame) : this.#open(frame);
    }
    if (frame.type === "close" && this.#step) return this.#close(frame.reason);
    const before = this.#step === "hello" ? " before hello" : "";
    throw new Violation(`an unexpected frame "${frame.type}"${before}`);
  }

  #violated(violation) {
    this.send(textOf({ type: "error", code: "protocol_error", message: violation.message }));
    process.stderr.write(`sojourn: the server sent ${violation.message}\n`);
    this.#leave(1);
  }

  #greet(frame) {
    if (frame.protocol !== protocol) {
      throw new Violation(`protocol ${textOf(frame.protocol)}; this SDK ${version} speaks protocol ${protocol}`);
    }
    const app = process.env.SOJOURN_APP ?? this.#type.name;
    const hello = {
      type: "hello",
      protocol,
      sdk: `sojourn-node/${version}`,
      app,
      functions: this.#names,
      capabilities: typeof this.#type.prototype.onEnd === "function" ? [...capabilities, "on_end"] : capabilities,
    };
    this.send(textOf(hello));
    this.#step = "open";
  }

  async #open(frame) {
    this.#working = true;
    try {
      enterSession(frame);
      const session = new Session(frame, this);
      this.#session = session;
      const app = instantiate(this.#type, session);
      const begin = session.restored && typeof app.restore === "function" ? "restore" : "setup";
      if (typeof app[begin] === "function") await app[begin](session.setup, session);
      this.#app = app;
      ledger.keepUnsent(session.state);
    } catch (error) {
      await this.#cleanUp();
      this.send(errorFrame(error));
      process.exit(1);
    }
    this.send('{"type":"ready"}');
    this.#step = "call";
    this.#done();
  }

  #done() {
    this.#working = false;
    this.#next();
  }

  // A call. Where the function is not async its answer is sent before control goes back to the event loop.

  #serve(frame) {
    ledger.adopt(this.#session.state, frame.state_set ?? {}, frame.state_deleted ?? []);
    const call = new Call(frame.request_id, frame.deadline_ms);
    this.call = call;
    this.#working = true;
    let value;
    try {
      value = this.#function(frame.function ?? "run").call(this.#app, frame.input, this.#session);
    } catch (error) {
      return this.#fail(call, error);
    }
    const kind = kindOf(value);
    if (!kind) return this.#succeed(call, value);
    const promise = kind === "promise" ? value : stream(value, call, this.#session);
    promise.then(
      (output) => this.#succeed(call, output),
      (error) => this.#fail(call, error),
    );
  }

  #function(name) {
    if (this.#names.includes(name)) return this.#app[name];
    throw new AppError(
      "function_not_found",
      `the app has no function ${textOf(name)}; it has: ${this.#names.join(", ") || "none"}`,
      { retryable: false, details: { functions: this.#names } },
    );
  }

  #succeed(call, output) {
    if (call.saving) {
      call.saving.then(() => setImmediate(() => this.#succeed(call, output))); // a checkpoint that nobody awaited
      return;
    }
    let answer;
    try {
      answer = this.#result(call, output);
    } catch (error) {
      return this.#fail(call, error);
    }
    ledger.accept(this.#session.state);
    this.call = null;
    this.send(answer);
    this.#done();
  }

  #result(call, output) {
    const text = checkedText("the output", output === undefined ? null : output);
    const changes = ledger.changes(this.#session.state) + call.eventsField();
    const end = call.ends ? ',"end":true' : "";
    const answer = `{"type":"result",${call.requestField},"output":${text}${changes}${end}}`;
    if (answer.length * 3 > toServerBytes && sizeOf(answer) > toServerBytes) {
      throw tooLarge(
        `output and state changes of one call have more than ${toServerBytes} bytes; ` +
          `session.checkpoint() commits in parts`,
      );
    }
    return answer;
  }

  #fail(call, error) {
    if (call.saving) {
      call.saving.then(() => setImmediate(() => this.#fail(call, error)));
      return;
    }
    ledger.discard(this.#session.state);
    this.call = null;
    const aborted = call.cancelled && (error?.name === "AbortError" || error?.code === "ABORT_ERR");
    this.send(errorFrame(aborted ? cancelledError() : error, `,${call.requestField}`));
    this.#done();
  }

  #cancel(call) {
    if (call.cancelled) return;
    call.cancelled = true;
    if (this.#polling) setImmediate(() => this.#stop(call));
    else this.#stop(call);
  }

  async #stop(call) {
    if (this.call !== call) return;
    if (typeof this.#app.onCancel === "function") {
      try {
        call.stopsByItself = true; // until onCancel says
        call.stopsByItself = (await this.#app.onCancel(this.#session)) === true;
      } catch (error) {
        call.stopsByItself = false;
        process.stderr.write(`${inspect(error)}\n`);
      }
    }
    if (!call.stopsByItself) call.abort();
  }

  // The end.

  async #close(reason) {
    const failures = await this.#cleanUp(reason);
    this.send(textOf({ type: "closed", failures }));
    process.exit(0);
  }

  async #leave(code) {
    if (!this.#step) return; // it closes already
    await this.#cleanUp();
    process.exit(code);
  }

  async #cleanUp(reason) {
    this.#step = "";
    this.#working = true;
    this.closing.abort();
    return this.#session ? cleanUp(this.#app, this.#session, reason) : [];
  }

  /** What the app left running threw: nothing can be relied on any more. The call that runs says why, if one does. */
  #crash(error) {
    if (process.listenerCount("uncaughtException") > 1) return; // the app has its own way
    process.stderr.write(`${inspect(error)}\n`);
    const { call } = this;
    this.call = null;
    if (call && this.#step) this.send(errorFrame(error, `,${call.requestField}`));
    this.#leave(1);
  }

  /** Where the app, or Node, ends the process. */
  #exiting() {
    if (this.#step && this.#session) cleanUpAtOnce(this.#app, this.#session);
    this.#step = "";
  }
}

/** What the server sets for a process that it starts for a session, for one that was there before. */
function enterSession({ session, folder }) {
  if (process.env.SOJOURN_SESSION !== undefined) return;
  process.env.SOJOURN_SESSION = session;
  if (!folder) return;
  process.chdir(folder);
  process.env.HOME ??= folder;
  process.env.TMPDIR ??= path.join(folder, "tmp");
}

/** Drives a generator: what it yields is a partial output, what it returns or else yielded last is the output. */
async function stream(generator, call, session) {
  let last = null;
  try {
    for (;;) {
      const { value, done } = await generator.next();
      if (done) return value === undefined ? last : value;
      session.emit(value);
      last = value;
      if (call.cancelled && !call.stopsByItself) throw cancelledError();
    }
  } catch (error) {
    await generator.return(); // its `finally` runs; nothing where it was the generator that threw
    throw error;
  }
}

function kindOf(value) {
  if (typeof value !== "object" || value === null) return null;
  if (typeof value.then === "function") return "promise";
  return /^(Async)?Generator$/.test(value[Symbol.toStringTag] ?? "") ? "generator" : null;
}

function textField(frame, name) {
  if (typeof frame[name] !== "string") throw new Violation(`a frame "${frame.type}" without the text "${name}"`);
}

function errorFrame(error, requestField = "") {
  const fields = toFields(error);
  let text = textOf(fields);
  if (text.length > errorBytes) text = textOf({ ...fields, details: { cut: "the details were too large" } });
  return `{"type":"error"${requestField},${text.slice(1)}`;
}
