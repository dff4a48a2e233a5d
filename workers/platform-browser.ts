import type { Endpoint } from 'comlink';
import type { ExecutorThread } from './platform.ts';

/** Starts an executor's thread. */
export function startExecutorThread(name: string): ExecutorThread {
  const worker = new Worker(new URL('./executor-worker.js', import.meta.url), { type: 'module', name });
  let ended: ((error: unknown) => void) | undefined;
  worker.addEventListener('error', (event) => ended?.(event.error ?? event.message));
  return {
    endpoint: worker,
    terminate() {
      worker.terminate();
      ended?.(undefined);
      return Promise.resolve();
    },
    onEnd(listener) {
      ended = listener;
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

/** Logical processors. */
export function availableParallelism(): number {
  return navigator.hardwareConcurrency;
}
