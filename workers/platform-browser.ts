import type { Endpoint } from 'comlink';
import { SabtreeError } from '../engine/errors.ts';
import { startChild } from './browser/start.ts';
import type { Files } from './durable/files.ts';
import type { ChildThread } from './platform.ts';

/** Starts an executor's thread. */
export function startExecutorThread(name: string): ChildThread {
  return startChild('executor', name);
}

/** A page has no files, so it has no log. */
export function startLogThread(_name: string): ChildThread {
  return noFiles();
}

/** Starts a thread that copies a replica into a snapshot. */
export function startSnapshotThread(name: string): ChildThread {
  return startChild('snapshot', name);
}

/** Milliseconds in which the browser may clear away a supervisor's ended threads before it ends the supervisor. */
const CLEARING = 100;

/** Starts a supervisor's thread. */
export function startSupervisorThread(name: string): ChildThread {
  const thread = startChild('supervisor', name);
  return {
    ...thread,
    // A worker that is terminated while one of its own workers is just ending may keep its system thread (seen in Chromium 150;
    // its scripts have ended nevertheless).
    async terminate() {
      await new Promise((resolve) => setTimeout(resolve, CLEARING));
      await thread.terminate();
    },
  };
}

/** In an executor's thread: the other end of its channel. */
export function ownEndpoint(): Endpoint {
  return globalThis as unknown as Endpoint;
}

/**
 * Runs `body`. A browser has nothing that could stop it: an endless one takes its replica out, and those that run it as well
 * (the store's `stallTimeout`).
 */
export function guarded(_limit: number, body: () => void): boolean {
  body();
  return true;
}

/** Nothing is stopped here, so nothing has to be loaded before. */
export function loadGlobals(): void {}

/** A page lives as long as it is open. */
export function keepAlive(): () => void {
  return () => {};
}

/** A page has no files: snapshots go to writables there, and come from bytes. */
export const files: Files = new Proxy({} as Files, { get: noFiles });

function noFiles(): never {
  throw new SabtreeError('ERR_UNSUPPORTED', 'a browser has no files: use streams and bytes');
}

/** Logical processors. */
export function availableParallelism(): number {
  return navigator.hardwareConcurrency;
}

/** Sends a message to the thread that started this one. */
export function tellParent(message: unknown): void {
  postMessage(message);
}

/**
 * A number by which other threads can see whether this one lives: `ownThread` brings it about, and until then it is 0.
 * `threadLives` learns of a death a moment after it.
 */
export {
  ownToken as threadToken,
  supervisorLives,
  takeToken as ownThread,
  tokenLives as threadLives,
} from './browser/life.ts';
/** Waits for another thread without blocking this one. */
export { waitAsync } from './browser/wait-async.ts';

/** A browser has no environment variables, and no sockets to listen on. */
export function environment(_name: string): string | undefined {
  return undefined;
}

export function warn(_message: string): void {}

export function processName(): { pid: number; title: string } {
  return { pid: 0, title: globalThis.location?.href ?? '' };
}

export function serveLines(_path: string, _answer: () => string): Promise<() => Promise<void>> {
  return Promise.reject(new Error('a browser has no sockets'));
}

/** Only Node has diagnostics channels. */
export function publish(_name: string, _message: unknown): void {}
