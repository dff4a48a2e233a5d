import diagnostics from 'node:diagnostics_channel';
import { existsSync, readlinkSync } from 'node:fs';
import { parentPort, Worker } from 'node:worker_threads';
import type { Endpoint } from 'comlink';
// @ts-expect-error: comlink ships this adapter without types
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import type { ChildThread } from './platform.ts';

/** Starts an executor's thread. It does not keep the process alive by itself. */
export function startExecutorThread(name: string): ChildThread {
  return child(new Worker(new URL('./executor-worker.js', import.meta.url), { name, stdout: false, stderr: false }));
}

/** Starts a log's thread. */
export function startLogThread(name: string): ChildThread {
  return child(new Worker(new URL('./durable/log-worker.js', import.meta.url), { name, stdout: false, stderr: false }));
}

/** Starts a thread that copies a replica into a snapshot. */
export function startSnapshotThread(name: string): ChildThread {
  return child(
    new Worker(new URL('./durable/snapshot-worker.js', import.meta.url), { name, stdout: false, stderr: false }),
  );
}

/** Starts a supervisor's thread. */
export function startSupervisorThread(name: string): ChildThread {
  return child(new Worker(new URL('./supervisor-worker.js', import.meta.url), { name, stdout: false, stderr: false }));
}

function child(worker: Worker): ChildThread {
  worker.unref();
  let failure: unknown;
  // An 'error' without a listener would end the process; the thread's 'exit' follows it.
  worker.on('error', (error) => {
    failure = error;
  });
  return {
    endpoint: nodeEndpoint(worker) as Endpoint,
    async terminate() {
      await worker.terminate();
    },
    onEnd(listener) {
      worker.once('exit', () => listener(failure));
    },
    onMessage(listener) {
      worker.on('message', listener);
    },
  };
}

/** In an executor's thread: the other end of its channel. */
export function ownEndpoint(): Endpoint {
  if (parentPort === null) throw new Error('not in a worker thread');
  return nodeEndpoint(parentPort) as Endpoint;
}

/** Keeps the process alive until the returned function is called. */
export function keepAlive(): () => void {
  const timer = setInterval(() => {}, 0x7fffffff);
  return () => clearInterval(timer);
}

/** Logical processors. */
export { availableParallelism } from 'node:os';
/** Files, for snapshots and the log. */
export { files } from './durable/files-node.ts';

/** Sends a message to the thread that started this one. */
export function tellParent(message: unknown): void {
  parentPort?.postMessage(message);
}

/**
 * A number by which other threads of the process can see whether this one lives; 0 where there is none. On Linux the kernel's
 * number of the thread.
 */
export function threadToken(): number {
  try {
    return Number(readlinkSync('/proc/thread-self').split('/').pop());
  } catch {
    return 0;
  }
}

/** Whether the thread of a token still lives; always true for 0. */
export function threadLives(token: number): boolean {
  return token === 0 || existsSync(`/proc/self/task/${token}`);
}

/** Tells whoever subscribed to the process's diagnostics. */
export function publish(name: string, message: unknown): void {
  const channel = diagnostics.channel(name);
  if (channel.hasSubscribers) channel.publish(message);
}
