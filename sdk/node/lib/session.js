// What an app sees of the session that it serves.

import path from "node:path";

import { AppError, checkedText, fromFields, tooLarge } from "./error.js";
import { toServerBytes } from "./connection.js";
import { Log } from "./log.js";
import { Resources } from "./resources.js";
import { State, ledger } from "./state.js";
import { sizeOf, textOf, valueBytes } from "./values.js";

export const events = 1_000;
export const eventBytes = 256 * 1024;
const eventType = /^[a-z0-9._-]{1,64}$/;
const ownEvents = ["session.", "worker.", "call.", "state.", "resource.", "artifact.", "audit.", "step.", "log"]; // Sojourn's own

const refused = (message) => new AppError("invalid_request", message, { retryable: false });

/** The call that runs now. */
export class Call {
  events = [];
  eventBytes = 0;
  ends = false;
  cancelled = false;
  stopsByItself = false; // said so by onCancel
  saving = null; // a checkpoint that is under way
  #aborting = null;
  #aborted = false;

  constructor(requestId, timeLeft) {
    this.requestId = requestId;
    this.requestField = `"request_id":${textOf(requestId)}`;
    this.until = typeof timeLeft === "number" ? performance.now() + timeLeft : Infinity;
  }

  /** Made when asked for: most calls never look at it. */
  get signal() {
    this.#aborting ??= new AbortController();
    if (this.#aborted) this.abort();
    return this.#aborting.signal;
  }

  abort() {
    this.#aborted = true;
    this.#aborting?.abort(cancelledError());
  }

  eventsField() {
    return this.events.length ? `,"events":[${this.events.join(",")}]` : "";
  }
}

export const cancelledError = () => new AppError("cancelled", "the call was cancelled", { retryable: false });

/** One session: who it is, what it remembers, and what a running call may do. See index.d.ts. */
export class Session {
  #link;
  #calls = 0;

  /** `link` joins it to the server: send(text), ask(key, text), poll(), closing, and the `call` that runs. */
  constructor(opening, link) {
    this.#link = link;
    const fixed = {
      id: opening.session,
      context: freeze(opening.context ?? {}),
      state: new State(opening.state ?? {}),
      setup: freeze(opening.setup ?? null),
      folder: path.resolve(opening.folder ?? "."),
      restored: opening.restored === true,
      appVersion: String(opening.app_version ?? ""),
      log: new Log((text) => this.#log(text)),
      resources: new Resources(link),
    };
    for (const [name, value] of Object.entries(fixed)) Object.defineProperty(this, name, { value, enumerable: true });
  }

  get signal() {
    return this.#link.call?.signal ?? this.#link.closing.signal;
  }

  get cancelRequested() {
    this.#link.poll();
    return this.#link.call?.cancelled ?? false;
  }

  get timeLeft() {
    return this.#link.call ? Math.max(0, this.#link.call.until - performance.now()) : Infinity;
  }

  emit(partial) {
    this.#progress("output", partial);
  }

  emitDelta(delta) {
    this.#progress("delta", delta);
  }

  record(type, data = {}) {
    const call = this.#running("record");
    if (typeof type !== "string" || !eventType.test(type) || ownEvents.some((own) => type.startsWith(own))) {
      throw refused(
        `${textOf(type)} is no event type of an app: 1 to 64 of a-z, 0-9, '.', '_' and '-', such as ` +
          `'parcel.weighed', and not starting with one of ${ownEvents.join(", ")}`,
      );
    }
    if (typeof data !== "object" || data === null || Array.isArray(data)) {
      throw new TypeError("an event's data is a plain object");
    }
    const text = checkedText(`the event "${type}"`, data);
    const size = sizeOf(text);
    if (size > eventBytes) throw tooLarge(`the event "${type}" has more than ${eventBytes} bytes`);
    if (call.events.length >= events || call.eventBytes + size > valueBytes) {
      throw tooLarge(`a commit holds at most ${events} events and ${valueBytes} bytes of them`);
    }
    call.events.push(`{"type":"${type}","data":${text}}`);
    call.eventBytes += size;
  }

  async checkpoint() {
    const call = this.#running("checkpoint");
    if (call.saving) {
      throw new AppError("conflict", "a checkpoint of this call is under way; await it first", { retryable: false });
    }
    const state = ledger.pending(this.state);
    const { length } = call.events;
    const bytes = call.eventBytes;
    const text = `{"type":"checkpoint",${call.requestField}${ledger.changes(this.state)}${call.eventsField()}}`;
    if (sizeOf(text) > toServerBytes) {
      throw tooLarge(`the changes since the last commit have more than ${toServerBytes} bytes`);
    }
    call.saving = this.#link.ask("saved", text);
    try {
      const answer = await call.saving;
      if (answer.error) throw fromFields(answer.error);
      ledger.accept(this.state, state);
      call.events.splice(0, length);
      call.eventBytes -= bytes;
    } finally {
      call.saving = null;
    }
  }

  end() {
    this.#running("end").ends = true;
  }

  async callApp(app, fn = "run", input = null) {
    const call = this.#running("callApp");
    const callId = `call-${(this.#calls += 1)}`;
    const text =
      `{"type":"app_call",${call.requestField},"call_id":"${callId}","app":${checkedText("app", app)},` +
      `"function":${checkedText("function", fn)},"input":${checkedText(`the input of ${app}`, input)}}`;
    const answer = await this.#link.ask(callId, text);
    if (answer.error) throw fromFields(answer.error);
    return answer.output ?? null;
  }

  #progress(field, value) {
    const call = this.#running("emit");
    const text = checkedText("what was emitted", value);
    this.#link.send(`{"type":"progress",${call.requestField},"${field}":${text}}`);
    this.#link.poll();
  }

  #log(text) {
    const { call } = this.#link;
    this.#link.send(call ? `${text},${call.requestField}}` : `${text}}`);
    this.#link.poll();
  }

  #running(what) {
    const { call } = this.#link;
    if (!call) throw refused(`session.${what}() works only while a call runs`);
    return call;
  }
}

/** Makes a JSON value that nobody else holds immutable at any depth. */
function freeze(value) {
  if (typeof value === "object" && value !== null) {
    for (const key of Object.keys(value)) freeze(value[key]);
    Object.freeze(value);
  }
  return value;
}
