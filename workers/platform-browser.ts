import type { Endpoint } from 'comlink';
import { SabtreeError } from '../engine/errors.ts';
import type { Files } from './durable/files.ts';
import type { ChildThread } from './platform.ts';

/** Starts an executor's thread. */
export function startExecutorThread(name: string): ChildThread {
  return child(new Worker(new URL('./executor-worker.js', import.meta.url), { type: 'module', name }));
}

/** Starts a log's thread. */
export function startLogThread(name: string): ChildThread {
  return child(new Worker(new URL('./durable/log-worker.js', import.meta.url), { type: 'module', name }));
}

/** Starts a thread that copies a replica into a snapshot. */
export function startSnapshotThread(name: string): ChildThread {
  return child(new Worker(new URL('./durable/snapshot-worker.js', import.meta.url), { type: 'module', name }));
}

/** Starts a supervisor's thread. */
export function startSupervisorThread(name: string): ChildThread {
  return child(new Worker(new URL('./supervisor-worker.js', import.meta.url), { type: 'module', name }));
}

function child(worker: Worker): ChildThread {
  const listeners: ((error: unknown) => void)[] = [];
  const ended = (error: unknown) => {
    for (const listener of listeners.splice(0)) listener(error);
  };
  worker.addEventListener('error', (event) => ended(event.error ?? event.message));
  return {
    endpoint: worker,
    terminate() {
      worker.terminate();
      ended(undefined);
      return Promise.resolve();
    },
    onEnd(listener) {
      listeners.push(listener);
    },
    onMessage(listener) {
      worker.addEventListener('message', ({ data }) => listener(data));
    },
  };
}

/** In an executor's thread: the other end of its channel. */
export function ownEndpoint(): Endpoint {
  return globalThis as unknown as Endpoint;
}

/** A page lives as long as it is open. */
export function keepAlive(): () => void {
  return () => {};
}

/** A page has no files: snapshots go to writables there, and come from bytes. */
export const files: Files = new Proxy({} as Files, {
  get() {
    throw new SabtreeError('ERR_UNSUPPORTED', 'there are no files here');
  },
});

/** Logical processors. */
export function availableParallelism(): number {
  return navigator.hardwareConcurrency;
}

/** Sends a message to the thread that started this one. */
export function tellParent(message: unknown): void {
  postMessage(message);
}

/** A browser does not tell whether another thread lives. */
export function threadToken(): number {
  return 0;
}

export function threadLives(_token: number): boolean {
  return true;
}

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
