// What an app is: a class whose public methods are the functions that callers may call.

export const reserved = new Set(["constructor", "setup", "unload", "onEnd", "onCancel", "restore"]);

let opening; // the session of the instance that is being made

/** The base of every app. One instance serves one session, one call at a time. See index.d.ts. */
export class App {
  constructor() {
    /** @readonly */
    this.session = opening; // there also in constructors and fields of the class below
  }
}

export function instantiate(type, session) {
  opening = session;
  try {
    return new type();
  } finally {
    opening = undefined;
  }
}

/** The names of an app's functions, as they stand in its source, inherited ones first. Throws TypeError. */
export function functionsOf(type) {
  if (typeof type !== "function" || !(type.prototype instanceof App)) {
    throw new TypeError("serve() takes a class that extends App of sojourn");
  }
  const chain = [];
  for (let at = type.prototype; at !== App.prototype; at = Object.getPrototypeOf(at)) chain.unshift(at);
  const names = new Set();
  for (const prototype of chain) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (typeof value !== "function" || name.startsWith("_") || name === "constructor") continue;
      if (value.length > 2) {
        throw new TypeError(`${type.name}.${name} has ${value.length} parameters; a function takes (input, session)`);
      }
      if (!reserved.has(name)) names.add(name);
    }
  }
  return [...names];
}
