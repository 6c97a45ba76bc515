/** What JSON can hold; `readonly` where it may not be changed. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type FrozenJson =
  null | boolean | number | string | readonly FrozenJson[] | { readonly [key: string]: FrozenJson };

export const version: string;

/** Serves the session for which a Sojourn server started this process, which exits when the session is closed. Throws
 * TypeError for a class that cannot be served. */
export function serve(app: new () => App): void;

/**
 * The base of every app. One instance serves one session, one call at a time.
 *
 * Each public method is a function `(input, session)` that callers may call, sync or async, but for the hooks below
 * and names that start with an underscore. What an (async) generator yields is shown as partial outputs; what it
 * returns, or else yielded last, is its output.
 *
 * Hooks, all optional, sync or async:
 * - `setup(setup, session)` runs once before the first call, with what the caller gave as "setup";
 * - `restore(setup, session)`, where there is one, runs instead when another worker served the session before;
 * - `onEnd(session, reason)` runs once where the session is over for good, "ended" or "expired", before `unload`;
 * - `unload(session)` runs once at the end of this worker, before the resources are closed;
 * - `onCancel(session)` runs when the running call shall stop; `session.signal` is aborted after it, unless it
 *   returned true: "it stops by itself".
 */
export class App {
  /** There also in constructors and field initialisers. */
  readonly session: Session;
}

/** One session: who it is, what it remembers, and what a running call may do. */
export interface Session {
  readonly id: string;
  /** What the session was created with; frozen at any depth. */
  readonly context: { readonly [key: string]: FrozenJson };
  readonly state: State;
  /** What the caller gave as "setup" when the session was created; frozen. */
  readonly setup: FrozenJson;
  /** The session's own folder, the working directory. It stays when the worker goes. */
  readonly folder: string;
  /** Whether another worker served this session before; its state is there, its memory is not. */
  readonly restored: boolean;
  readonly appVersion: string;
  readonly log: Log;
  readonly resources: Resources;

  /** Of the running call: aborted when it shall stop. Between calls, of the session: aborted when it closes. */
  readonly signal: AbortSignal;
  /** Whether the running call shall stop. Code that keeps the thread busy asks this now and then: asking lets the SDK
   * read what the server sent, at most once in 5 ms. The signal follows when control is back at the event loop. */
  readonly cancelRequested: boolean;
  /** Milliseconds until the running call's deadline; Infinity where there is none. */
  readonly timeLeft: number;

  /** Shows who follows the call a partial output. Provisional: nothing is committed. */
  emit(partial: unknown): void;
  /** Shows who follows the call what is to be merged into the partial output so far. */
  emitDelta(delta: unknown): void;
  /** Appends an event of the app's own to the journal, with the next commit of this call. */
  record(type: string, data?: object): void;
  /** Commits state and events so far, and resolves when they are durable; what comes after may still fail. */
  checkpoint(): Promise<void>;
  /** The session ends when this call is over and answered; not if it throws. */
  end(): void;
  /** Runs a function of another app in a session of its own; resolves with its output, rejects with its AppError. */
  callApp(app: string, fn?: string, input?: unknown): Promise<any>;
}

/** What the session remembers. Reading and writing copy; a call's changes are committed with it, or dropped when it
 * throws. */
export interface State extends Iterable<[string, any]> {
  get<T = any>(key: string): T | undefined;
  get<T>(key: string, otherwise: T): T;
  /** Throws NotSerializable, a TypeError that names the place, for what JSON cannot hold; AppError past a limit. */
  set(key: string, value: unknown): this;
  delete(key: string): boolean;
  has(key: string): boolean;
  readonly size: number;
  /** A copy, so that the state may be changed meanwhile. */
  keys(): string[];
  entries(): [string, any][];
}

/** Lines of the session's journal. Fields that JSON cannot hold are shown as text. */
export interface Log {
  debug(message: unknown, fields?: object): void;
  info(message: unknown, fields?: object): void;
  warn(message: unknown, fields?: object): void;
  error(message: unknown, fields?: object): void;
}

export interface Resource {
  readonly id: string;
  readonly kind: string;
  readonly cost: number;
}

/** What must be released when the session closes: the newest first, each within 30 s, all are tried. */
export interface Resources extends Iterable<Resource> {
  /**
   * Takes over a resource and resolves with its id. `cost` is an integer in units of your choice; `close`, sync or
   * async, releases it.
   *
   * `cleanup` says how the server can release it when this process is gone: {path} below the session's folder, /tmp
   * or /dev/shm; {shm}; or {pid, start}, the start being field 22 of /proc/PID/stat. With it this resolves only when
   * the note is durable, and rejects as that fails: add first, acquire then, and nothing is ever left behind.
   */
  add(resource: {
    /** Made up from `kind` where it is left out. */
    id?: string;
    kind: string;
    cost?: number;
    cleanup?: { path: string } | { shm: string } | { pid: number; start: number };
    close: () => unknown;
  }): Promise<string>;
  /** Forgets a resource that the app itself released; its close() is not run. Whether it was held. */
  release(id: string): boolean;
  has(id: string): boolean;
  readonly size: number;
}

/** Throw it to fail a call with a code, a retry advice and details of your own choice. */
export class AppError extends Error {
  /** `code` is a word of the server's registry; any other arrives as app_error with `details.code`. */
  constructor(
    code: string,
    message: string,
    options?: { retryable?: boolean; details?: { [key: string]: unknown }; cause?: unknown },
  );
  readonly code: string;
  /** Undefined: the registry's word on it. */
  readonly retryable: boolean | undefined;
  readonly details: { [key: string]: any };
}

/** A value that JSON cannot hold; made by the SDK. */
export class NotSerializable extends TypeError {
  private constructor();
  readonly code: "not_serializable";
  /** The place (RFC 6901). */
  readonly pointer: string;
  readonly retryable: false;
  readonly details: { pointer: string };
}
