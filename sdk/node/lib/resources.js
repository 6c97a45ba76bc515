// What a session acquired and must release: whatever happens, each resource is cleaned up once, the newest first.

import { AppError, NotSerializable, fromFields, tooLarge } from "./error.js";
import { refusalOf, textOf } from "./values.js";

export const most = 10_000;

export class Resources {
  #link;
  #open = new Map(); // oldest first
  #made = 0;
  #noted = 0;

  constructor(link) {
    this.#link = link;
  }

  /** Takes over a resource; see index.d.ts. Resolves with its id, once a `cleanup` note is durable. */
  async add({ id, kind, cost = 0, cleanup = null, close } = {}) {
    if (typeof kind !== "string" || !kind)
      throw new TypeError("a resource's kind is text with at least one character");
    if (id === undefined) {
      do this.#made += 1;
      while (this.#open.has(`${kind}-${this.#made}`));
      id = `${kind}-${this.#made}`;
    }
    if (typeof id !== "string" || !id) throw new TypeError("a resource's id is text with at least one character");
    if (typeof close !== "function")
      throw new TypeError(`close of resource "${id}" is a function without parameters`);
    if (!Number.isSafeInteger(cost)) throw new TypeError(`the cost of resource "${id}" is an integer`);
    if (this.#open.has(id)) {
      throw new AppError("already_exists", `the session already holds a resource "${id}"`, { retryable: false });
    }
    if (this.#open.size >= most) throw tooLarge(`a session holds at most ${most} resources`);
    const frame = { type: "resource", op: "add", id, kind, cost, cleanup };
    const refusal = refusalOf(frame);
    if (refusal) throw new NotSerializable(`resource "${id}"`, refusal);
    this.#open.set(id, { id, kind, cost, close });
    if (cleanup === null) {
      this.#link.send(textOf(frame));
      return id;
    }
    frame.n = this.#noted += 1;
    const answer = await this.#link.ask(`noted-${frame.n}`, textOf(frame));
    if (answer.error) {
      this.release(id);
      throw fromFields(answer.error);
    }
    return id;
  }

  /** Forgets a resource that the app itself released; its close() is not run. Whether it was held. */
  release(id) {
    if (!this.#open.delete(id)) return false;
    this.#link.send(textOf({ type: "resource", op: "release", id }));
    return true;
  }

  has(id) {
    return this.#open.has(id);
  }

  get size() {
    return this.#open.size;
  }

  [Symbol.iterator]() {
    return [...this.#open.values()].map(({ id, kind, cost }) => ({ id, kind, cost }))[Symbol.iterator]();
  }

  /** Takes out one after the other, to be closed. */
  static *newestFirst(resources) {
    const held = resources.#open;
    while (held.size) {
      for (const resource of [...held.values()].reverse()) if (held.delete(resource.id)) yield resource;
    }
  }
}
