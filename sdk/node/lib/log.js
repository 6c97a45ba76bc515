// Structured log lines of an app; they appear in the session's journal.

import { inspect } from "node:util";

import { messageLength, readable, wordsOf } from "./error.js";
import { refusalOf, textOf } from "./values.js";

export class Log {
  #send;

  /** `send` gets a frame that lacks its last brace. */
  constructor(send) {
    this.#send = send;
  }

  debug(message, fields) {
    this.#line("debug", message, fields);
  }

  info(message, fields) {
    this.#line("info", message, fields);
  }

  warn(message, fields) {
    this.#line("warning", message, fields);
  }

  error(message, fields) {
    this.#line("error", message, fields);
  }

  #line(level, message, fields) {
    const shown = {};
    for (const [name, value] of Object.entries(fields ?? {})) shown[readable(name)] = loggable(value);
    const frame = { type: "log", level, message: cut(message), fields: shown };
    this.#send(textOf(frame).slice(0, -1));
  }
}

/** A log line never fails for what it is about: what JSON cannot hold, or is too long, is shown as text. */
function loggable(value) {
  if (refusalOf(value)) return cut(inspect(value));
  const text = textOf(value);
  return text.length <= messageLength ? value : cut(text);
}

function cut(value) {
  const words = wordsOf(value);
  return words.length > messageLength ? `${readable(words)} ... (cut)` : readable(words);
}
