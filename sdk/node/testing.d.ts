import type { ChildProcess } from "node:child_process";

export interface Frame {
  type: string;
  [field: string]: any;
}

/** What one call did. */
export interface Result {
  output: any;
  stateSet: { [key: string]: any };
  stateDeleted: string[];
  events: { type: string; data: any }[];
  end: boolean;
  /** Progress, log and other frames that came during the call. */
  before: Frame[];
}

/** Starts an app, given its JavaScript file, and opens a session: `opening` has fields of `open`. Rejects as
 * setup fails. */
export function start(
  file: string,
  opening?: { context?: object; setup?: unknown; state?: object; restored?: boolean; [field: string]: unknown },
): Promise<Worker>;

/** One worker process, seen from its server. */
export class Worker {
  constructor(file: string, options?: { patience?: number; args?: string[]; spare?: boolean });
  /** The state as the server would have committed it. */
  state: { [key: string]: any };
  readonly folder: string;
  readonly process: ChildProcess;
  /** Resolves with the process's exit code, or the name of the signal that killed it. */
  readonly exited: Promise<number | string>;
  hello(): Promise<Frame>;
  open(fields?: object): Promise<void>;
  /** Calls a function and waits for its end, saving checkpoints as they come. Rejects with its AppError. */
  call(fn?: string, input?: unknown, fields?: object): Promise<Result>;
  /** Sends a call and returns its request id. */
  begin(fn?: string, input?: unknown, fields?: object): string;
  finish(requestId: string): Promise<Result>;
  /** Closes the session; resolves with the failures of its clean-up. The process has ended with 0 then. */
  close(reason?: string): Promise<{ id: string; kind: string; message: string }[]>;
  /** Kills the process, as a fault would. */
  crash(): Promise<void>;
  /** Ends the process, if it still runs, and removes its folder. */
  kill(): Promise<void>;
  /** What the process wrote to standard output and standard error so far. */
  output(): string;
  /** Closes the server's end of the socket. */
  hangUp(): void;
  send(frame: Frame): void;
  sendRaw(bytes: Uint8Array): void;
  /** The worker's next frame; null when it closed the socket. */
  receive(): Promise<Frame | null>;
  expect(type: string): Promise<Frame>;
}
