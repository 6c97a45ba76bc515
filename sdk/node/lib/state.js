// A session's state: JSON values by key, checked and copied on the way in and on the way out.
//
// Values are kept as the JSON text that is stored for them, so that neither the caller's object nor what get()
// returned can change the state later, and only what really changed is sent. Changes are kept apart until the server
// has made them durable (accept) or the call failed (discard).

import { AppError, checkedText, tooLarge } from "./error.js";
import { refusalOf, sizeOf, textOf } from "./values.js";

export const keyBytes = 256;
export const valueBytes = 4 * 1024 * 1024;
export const stateBytes = 64 * 1024 * 1024;
export const keys = 10_000;

/** What only the worker may do to a State. */
export let ledger;

export class State {
  #texts = new Map();
  #before = new Map(); // of the keys that changed; undefined: it was not there
  #unsent = new Set(); // changed by setup, to be sent with the first commit
  #bytes = 0;

  constructor(values = {}) {
    this.#adopt(values, []);
  }

  get(key, otherwise) {
    const text = this.#texts.get(key);
    return text === undefined ? otherwise : JSON.parse(text);
  }

  set(key, value) {
    checkKey(key);
    const text = checkedText(`state[${textOf(key)}]`, value, valueBytes);
    const before = this.#texts.get(key);
    if (before === undefined && this.#texts.size >= keys)
      throw tooLarge(`a session's state has at most ${keys} keys`);
    const total = this.#bytes + sizeOf(text) - sizeOf(before ?? "");
    if (total > stateBytes) throw tooLarge(`state[${textOf(key)}] would take the state past ${stateBytes} bytes`);
    this.#change(key, before);
    this.#texts.set(key, text);
    this.#bytes = total;
    return this;
  }

  delete(key) {
    const before = this.#texts.get(key);
    if (before === undefined) return false;
    this.#change(key, before);
    this.#texts.delete(key);
    this.#bytes -= sizeOf(before);
    return true;
  }

  has(key) {
    return this.#texts.has(key);
  }

  get size() {
    return this.#texts.size;
  }

  /** A copy: changing the state while walking it is allowed. */
  keys() {
    return [...this.#texts.keys()];
  }

  entries() {
    return this.keys().map((key) => [key, this.get(key)]);
  }

  [Symbol.iterator]() {
    return this.entries()[Symbol.iterator]();
  }

  #change(key, before) {
    if (!this.#before.has(key)) this.#before.set(key, before);
  }

  #put(key, text) {
    this.#bytes -= sizeOf(this.#texts.get(key) ?? "");
    if (text === undefined) {
      this.#texts.delete(key);
    } else {
      this.#texts.set(key, text);
      this.#bytes += sizeOf(text);
    }
  }

  #adopt(values, deleted) {
    for (const key of deleted) {
      this.#put(key, undefined);
      this.#unsent.delete(key);
    }
    for (const key of Object.keys(values)) {
      this.#put(key, textOf(values[key]));
      this.#unsent.delete(key);
    }
  }

  #changedKeys() {
    return [...new Set([...this.#unsent, ...this.#before.keys()])].sort();
  }

  #changes() {
    if (!this.#before.size && !this.#unsent.size) return "";
    const changed = [];
    const deleted = [];
    for (const key of this.#changedKeys()) {
      const now = this.#texts.get(key);
      const before = this.#before.has(key) ? this.#before.get(key) : now;
      if (now === undefined) {
        if (before !== undefined || this.#unsent.has(key)) deleted.push(textOf(key));
      } else if (now !== before || this.#unsent.has(key)) {
        changed.push(`${textOf(key)}:${now}`);
      }
    }
    return `,"state_set":{${changed.join(",")}},"state_deleted":[${deleted.join(",")}]`;
  }

  #accept(durable) {
    if (!durable) {
      this.#before.clear();
      this.#unsent.clear();
      return;
    }
    for (const [key, text] of durable) {
      this.#unsent.delete(key);
      if (this.#texts.get(key) === text) this.#before.delete(key);
      else this.#before.set(key, text);
    }
  }

  #discard() {
    for (const [key, text] of this.#before) this.#put(key, text);
    this.#before.clear();
  }

  #keepUnsent() {
    for (const [key, text] of this.#before) if (text !== this.#texts.get(key)) this.#unsent.add(key);
    this.#before.clear();
  }

  static {
    ledger = {
      /** Takes over what the server says the state is; no change of ours. */
      adopt: (state, values, deleted) => state.#adopt(values, deleted),
      /** The frame fields `state_set` and `state_deleted`, led by a comma; a key set to what it was is left out. */
      changes: (state) => state.#changes(),
      /** What the keys that changed are now, for accept(). */
      pending: (state) => new Map(state.#changedKeys().map((key) => [key, state.#texts.get(key)])),
      /** The changes are durable; where `durable` is given, only up to what pending() said. */
      accept: (state, durable) => state.#accept(durable),
      /** Puts back what was before the changes. */
      discard: (state) => state.#discard(),
      /** What setup changed: no failing call drops it, and the first commit carries it. */
      keepUnsent: (state) => state.#keepUnsent(),
    };
  }
}

function checkKey(key) {
  if (typeof key !== "string") throw new TypeError(`a state key is text, not of type ${typeof key}`);
  if (refusalOf(key)) throw new TypeError(`the state key ${textOf(key)} is no valid Unicode`);
  const length = sizeOf(key);
  if (length < 1 || length > keyBytes) {
    const message = `a state key has 1 to ${keyBytes} bytes, this one has ${length}`;
    throw new AppError("invalid_request", message, { retryable: false });
  }
}
