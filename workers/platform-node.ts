import { parentPort, Worker } from 'node:worker_threads';
import type { Endpoint } from 'comlink';
// @ts-expect-error: comlink ships this adapter without types
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import type { ExecutorThread } from './platform.ts';

/** Starts an executor's thread. It does not keep the process alive by itself. */
export function startExecutorThread(name: string): ExecutorThread {
  const worker = new Worker(new URL('./executor-worker.js', import.meta.url), { name, stdout: false, stderr: false });
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
