// Failure is an AppError: a code that callers act on, a sentence for people, details for machines.

import { inspect } from "node:util";

import { refusalOf, sizeOf, textOf, valueBytes } from "./values.js";

export const messageLength = 8 * 1024;
const tracebackLength = 32 * 1024;
const ownFolder = new URL(".", import.meta.url).href;

/** Throw it to fail a call with a code, a retry advice and details of your own choice.
 *
 * `code` is a word of the server's registry; any other arrives as app_error with `details.code`. `retryable` left out
 * is the registry's word on it.
 */
export class AppError extends Error {
  constructor(code, message, { retryable, details, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "AppError";
    this.code = code;
    this.retryable = retryable;
    this.details = { ...details };
  }
}

/** A value that JSON cannot hold. `pointer` (RFC 6901) names the place. */
export class NotSerializable extends TypeError {
  constructor(what, refusal) {
    super(`${what}: ${refusal.pointer || "(the value itself)"} ${refusal.reason}`);
    this.name = "NotSerializable";
    this.code = "not_serializable";
    this.pointer = refusal.pointer;
    this.retryable = false;
    this.details = { pointer: refusal.pointer };
  }
}

export const tooLarge = (message) => new AppError("too_large", message, { retryable: false });

/** The JSON text of a value that goes to the server. Throws NotSerializable, or too_large. */
export function checkedText(what, value, limit = valueBytes) {
  const refusal = refusalOf(value);
  if (refusal) throw new NotSerializable(what, refusal);
  const text = textOf(value);
  if (text.length > limit || (text.length * 3 > limit && sizeOf(text) > limit)) {
    throw tooLarge(`${what} has ${sizeOf(text)} bytes; at most ${limit} are allowed`);
  }
  return text;
}

/** The AppError that an `error` field of a frame holds. */
export function fromFields(fields) {
  if (typeof fields !== "object" || fields === null) {
    return new AppError("internal_error", `the server sent an error that is no object: ${inspect(fields)}`);
  }
  return new AppError(
    String(fields.code ?? "internal_error"),
    String(fields.message ?? "the server gave no message"),
    {
      retryable: fields.retryable,
      details: fields.details,
    },
  );
}

/** What an `error` frame says of whatever was thrown; always something that JSON can hold. */
export function toFields(error) {
  if (error instanceof AppError || error instanceof NotSerializable) {
    const fields = {
      code: readable(error.code),
      message: readable(error.message),
      details: detailsOf(error.details),
    };
    if (error.retryable !== undefined && error.retryable !== null) fields.retryable = Boolean(error.retryable);
    const traceback = error instanceof NotSerializable ? tracebackOf(error) : null;
    if (traceback?.includes("\n    at ")) fields.details.traceback ??= traceback; // none where it was the output
    return fields;
  }
  const name = readable(error instanceof Error ? error.name : typeof error);
  const words = readable(error instanceof Error ? error.message : inspect(error));
  return {
    code: "app_error",
    message: words ? `${name}: ${words}`.slice(0, messageLength) : name,
    retryable: false,
    details: { type: name, traceback: tracebackOf(error) },
  };
}

/** The stack without the frames of this SDK and of Node itself, which say nothing to anybody. */
function tracebackOf(error) {
  let text = "";
  for (let at = error, level = 0; at !== undefined && level < 8; at = at?.cause, level += 1) {
    const stack = at instanceof Error && typeof at.stack === "string" ? at.stack : inspect(at);
    const lines = stack.split("\n").filter((line) => !line.includes(ownFolder) && !/^ +at .*\(?node:/.test(line));
    text += (level ? "\nCaused by: " : "") + lines.join("\n");
  }
  text = wellFormed(text);
  if (text.length <= tracebackLength) return text;
  const half = tracebackLength / 2;
  const cut = `${text.slice(0, half)}\n... ${text.length - 2 * half} characters cut ...\n${text.slice(-half)}`;
  return wellFormed(cut);
}

function detailsOf(details) {
  const kept = {};
  for (const [key, value] of Object.entries(details ?? {})) {
    kept[readable(key)] = refusalOf(value) ? readable(inspect(value)) : value;
  }
  return kept;
}

/** What a value says, whatever it is. */
export function wordsOf(value) {
  try {
    return String(value);
  } catch {
    return inspect(value); // an object may fail to print itself
  }
}

/** The same without lone surrogates, and cut to the length of a message. */
export const readable = (value) => wellFormed(wordsOf(value).slice(0, messageLength));

const wellFormed = (text) => (refusalOf(text) ? Buffer.from(text).toString() : text);
