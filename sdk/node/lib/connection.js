// Frames over the socket to the server: a 4-byte big-endian length, then one JSON object.

import fs from "node:fs";
import net from "node:net";
import { isUtf8 } from "node:buffer";

import { sizeOf } from "./values.js";

export const toServerBytes = 16 * 1024 * 1024;
export const toWorkerBytes = 80 * 1024 * 1024;

const chunkBytes = 64 * 1024;
const pollMs = 5;
const nothing = Buffer.alloc(0);

/** The other side broke the protocol. */
export class Violation extends Error {}

/** Cuts what arrives into frames. */
export class FrameReader {
  #data = nothing;
  #ours = false; // whether #data is a copy of our own
  #at = 0;
  #end = 0;
  #limit;

  constructor(limit = toWorkerBytes) {
    this.#limit = limit;
  }

  /** Adds what arrived: the first `length` bytes of `data`, which stay as they are until keep(). */
  push(data, length) {
    const left = this.#end - this.#at;
    if (left === 0) {
      this.#data = data;
      this.#ours = false;
      this.#at = 0;
      this.#end = length;
      return;
    }
    this.#own(left + length);
    data.copy(this.#data, this.#end, 0, length);
    this.#end += length;
  }

  /** Makes what is left of a frame independent of the data that was pushed. */
  keep() {
    const left = this.#end - this.#at;
    if (left > 0) this.#own(left);
    else this.#data = nothing;
  }

  /** Has what is left in a buffer of our own, with room for the frame and for `bytes`, so that it is copied once. */
  #own(bytes) {
    const left = this.#end - this.#at;
    if (this.#ours && this.#data.length - this.#at >= bytes) return;
    const frame = left >= 4 ? 4 + Math.min(this.#data.readUInt32BE(this.#at), this.#limit) : 0;
    const data = Buffer.allocUnsafeSlow(Math.max(bytes, frame) + chunkBytes);
    this.#ours = true;
    this.#data.copy(data, 0, this.#at, this.#end);
    this.#data = data;
    this.#at = 0;
    this.#end = left;
  }

  /** The next frame, if all of it is here. Throws Violation. */
  next() {
    if (this.#end - this.#at < 4) return undefined;
    const length = this.#data.readUInt32BE(this.#at);
    if (length < 1 || length > this.#limit)
      throw new Violation(`a frame of ${length} bytes; it has 1 to ${this.#limit}`);
    const begin = this.#at + 4;
    if (this.#end - begin < length) return undefined;
    this.#at = begin + length;
    return parse(this.#data, begin, this.#at);
  }
}

function parse(data, begin, end) {
  const text = data.toString("utf8", begin, end);
  let frame;
  try {
    // A byte that is no UTF-8 was replaced by this character, which may as well be meant.
    if (text.includes("\ufffd") && !isWellEncoded(data.subarray(begin, end))) throw new Error("it is no UTF-8");
    frame = JSON.parse(text);
  } catch (error) {
    throw new Violation(`a frame that is no strict JSON: ${error.message}`);
  }
  if (typeof frame !== "object" || frame === null || typeof frame.type !== "string") {
    throw new Violation('a frame that is no object with a "type"');
  }
  return frame;
}

// isUtf8 came with Node 18.14.
const isWellEncoded = isUtf8 ?? ((bytes) => Buffer.from(bytes.toString()).equals(bytes));

const nap = new Int32Array(new SharedArrayBuffer(4));
const scratch = Buffer.allocUnsafeSlow(chunkBytes);

/** One frame's bytes; valid until the next call. */
export function encode(text) {
  if (text.length * 3 + 4 <= scratch.length) {
    const length = scratch.write(text, 4);
    scratch.writeUInt32BE(length, 0);
    return scratch.subarray(0, 4 + length);
  }
  const length = sizeOf(text);
  const frame = Buffer.allocUnsafeSlow(4 + length);
  frame.writeUInt32BE(length, 0);
  frame.write(text, 4);
  return frame;
}

/** The worker's end. `take` gets each frame in order; null when the server is gone; a Violation as it is found. */
export class Connection {
  #descriptor;
  #take;
  #reader = new FrameReader();
  #chunk = Buffer.allocUnsafeSlow(chunkBytes);
  #polled = 0;
  #gone = false;

  constructor(descriptor, take) {
    this.#descriptor = descriptor;
    this.#take = take;
    const socket = new net.Socket({
      fd: descriptor,
      allowHalfOpen: true, // writing goes past it
      onread: { buffer: this.#chunk, callback: (length) => this.#read(this.#chunk, length) },
    });
    socket.on("end", () => this.#leave());
    socket.on("error", () => this.#leave());
  }

  /** Sends one frame and returns when the kernel has it, so that nobody can outrun the server. Does nothing when the
   * server is gone: `take` tells. */
  send(text) {
    if (this.#gone) return;
    const frame = encode(text);
    for (let sent = 0, pause = 0.1; sent < frame.length;) {
      try {
        sent += fs.writeSync(this.#descriptor, frame, sent);
        pause = 0.1;
      } catch (error) {
        if (error.code === "EPIPE" || error.code === "ECONNRESET") return; // reading tells
        if (error.code !== "EAGAIN") throw error;
        Atomics.wait(nap, 0, 0, pause);
        pause = Math.min(pause * 2, 10);
      }
    }
  }

  /** Reads what has arrived, without waiting, for code that keeps the event loop from it; at most once in 5 ms. */
  poll() {
    const now = performance.now();
    if (now - this.#polled < pollMs || this.#gone) return;
    this.#polled = now;
    try {
      const data = Buffer.allocUnsafe(chunkBytes);
      const length = fs.readSync(this.#descriptor, data);
      if (length === 0) this.#leave();
      else this.#read(data, length);
    } catch (error) {
      if (error.code === "ECONNRESET") this.#leave();
      else if (error.code !== "EAGAIN") throw error;
    }
  }

  #read(data, length) {
    this.#polled = performance.now();
    this.#reader.push(data, length);
    try {
      for (let frame = this.#reader.next(); frame; frame = this.#reader.next()) this.#take(frame);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      this.#take(error);
    }
    this.#reader.keep();
    return true;
  }

  #leave() {
    if (this.#gone) return;
    this.#gone = true;
    this.#take(null);
  }
}
