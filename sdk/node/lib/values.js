// What may cross the boundary between an app and its server: strict JSON, checked on the way out.

export const depth = 64;
export const valueBytes = 8 * 1024 * 1024;

const advice = {
  Date: "use .toISOString()",
  Map: "use Object.fromEntries()",
  Set: "use a sorted array",
  Buffer: "decode it, or use base64 text",
  ArrayBuffer: "decode it, or use base64 text",
  State: "use Object.fromEntries()",
  URL: "use .href",
  RegExp: "use .source",
  Promise: "await it",
  Generator: "use an array",
  AsyncGenerator: "use an array",
};

/** Why JSON cannot hold a value, and where in it: the steps lead from the innermost place outwards. */
export class Refusal {
  constructor(reason, container) {
    this.reason = reason;
    this.steps = [];
    this.containers = container === undefined ? null : [container]; // of one that is nested too deep
  }

  /** Passes on what was refused inside `container`. */
  within(container, step) {
    this.steps.push(step);
    if (this.containers) this.containers.push(container);
    return this;
  }

  /** What is nested too deep may contain itself: then the place where it does so first is the one to name. */
  settle() {
    const outermost = this.containers?.reverse();
    const again = outermost?.findIndex((container, index) => outermost.indexOf(container) < index) ?? -1;
    if (again > 0) {
      this.reason = "contains itself";
      this.steps = this.steps.slice(this.steps.length - again);
    }
    this.pointer = this.steps
      .reverse()
      .map((step) => "/" + String(step).replace(/~/g, "~0").replace(/\//g, "~1"))
      .join("");
    return this;
  }
}

/** A Refusal, or null where `value` is null, a boolean, a finite number, text, or an array or plain object of such
 * values, at most 64 levels deep. */
export function refusalOf(value) {
  return check(value, 0)?.settle() ?? null;
}

function check(value, level) {
  switch (typeof value) {
    case "string":
      return isWellFormed(value) ? null : new Refusal("holds a lone surrogate, which is no valid Unicode");
    case "number":
      return checkNumber(value);
    case "boolean":
      return null;
    case "object":
      if (value === null) return null;
      return Array.isArray(value) ? checkArray(value, level) : checkObject(value, level);
    case "undefined":
      return new Refusal("is undefined; use null, or leave the key out");
    case "bigint":
      return new Refusal("is a BigInt; use Number() or String()");
    default:
      return new Refusal(`is a ${typeof value}; use only what JSON can hold`);
  }
}

function checkNumber(value) {
  if (!Number.isFinite(value)) return new Refusal(`is ${value}, which JSON cannot hold; use null`);
  // JSON.stringify writes these as an integer of 64 bits or more, which the server would refuse.
  if ((value >= 2 ** 64 || value < -(2 ** 63)) && Math.abs(value) < 1e21) {
    return new Refusal("is an integer past 64 bits; use text");
  }
  return null;
}

function checkArray(array, level) {
  if (level >= depth) return new Refusal(`is nested deeper than ${depth} levels`, array);
  for (let index = 0; index < array.length; index += 1) {
    const refusal = check(array[index], level + 1);
    if (refusal) return refusal.within(array, index);
  }
  return null;
}

function checkObject(object, level) {
  const prototype = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null) return refuseType(object, prototype);
  if (level >= depth) return new Refusal(`is nested deeper than ${depth} levels`, object);
  for (const key of Object.keys(object)) {
    const refusal = isWellFormed(key)
      ? check(object[key], level + 1)
      : new Refusal("is a key with a lone surrogate, which is no valid Unicode");
    if (refusal) return refusal.within(object, key);
  }
  const symbols = Object.getOwnPropertySymbols(object);
  return symbols.length
    ? new Refusal("is a key of type symbol; use text").within(object, symbols[0].toString())
    : null;
}

function refuseType(object, prototype) {
  const tag = Object.prototype.toString.call(object).slice(8, -1); // of a Generator, whose constructor has no name
  const name = prototype.constructor?.name || tag;
  const known = advice[name] ?? (ArrayBuffer.isView(object) ? "use Array.from()" : null);
  return new Refusal(`is of type ${name}; ${known ?? "use a plain object or array"}`);
}

const isWellFormed = String.prototype.isWellFormed
  ? (text) => text.isWellFormed()
  : (text) => !/\p{Surrogate}/u.test(text); // Node 18

/** The JSON text of a value that refusalOf() took. */
export const textOf = JSON.stringify;

/** Bytes of a text in UTF-8. */
export const sizeOf = (text) => Buffer.byteLength(text);
