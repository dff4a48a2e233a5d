/** What the tests of watching share: stores that are closed behind a test, clients in threads of their own, and proofs. */
import { Worker } from 'node:worker_threads';
import { expect } from 'vitest';
import { type Change, open, type Store, type StoreOptions } from '../../dist/index.js';
import { inTime } from './stores.ts';

const workers: Worker[] = [];
const stores: Store[] = [];

/** Ends what a test has begun. */
export async function endAll(): Promise<void> {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
  await Promise.all(stores.splice(0).map((store) => store.close()));
}

export async function opened(options: Partial<StoreOptions> = {}): Promise<Store> {
  const whole = { key: 'u32', value: 'f64', memory: '64MB', executors: 2, replicas: 2, fanout: 8, ...options } as const;
  const store = (await open(whole as StoreOptions)) as unknown as Store;
  stores.push(store);
  return store;
}

/** A client in a thread of its own; resolves once it has said `ready`. */
export async function thread<T>(store: Store, task: string, args: object = {}, ready = 'connected') {
  const worker = new Worker(new URL('./watch-thread.mjs', import.meta.url), {
    workerData: { handle: store.handle, task, args },
  });
  workers.push(worker);
  let begun: () => void = () => {};
  const started = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const result = new Promise<T>((resolve, reject) => {
    worker.on('message', (message) => {
      if (message === ready) begun();
      else if (typeof message === 'object')
        'failure' in message ? reject(new Error(message.failure)) : resolve(message.result);
    });
    worker.on('error', reject);
  });
  result.catch(() => {});
  await inTime(`${task} begins`, Promise.race([started, result]));
  return { worker, result };
}

export const flag = () => new Int32Array(new SharedArrayBuffer(4));

/** What changes make of an empty map. */
export function folded(changes: readonly Change[]): [number, number][] {
  const map = new Map<number, number>();
  for (const change of changes) {
    if (change.type === 'put') map.set(change.key, change.value);
    else map.delete(change.key);
  }
  return [...map].sort(([a], [b]) => a - b);
}

/** Fails unless the values that each key went through are 1, 2, 3, ... up to what was added to it. */
export function expectCounted(changes: readonly Change[], added: ReadonlyMap<number, number>): void {
  const counts = new Map<number, number>();
  for (const change of changes) {
    if (!added.has(change.key) || change.type !== 'put') continue;
    const before = counts.get(change.key) ?? 0;
    if (change.value !== before + 1) throw new Error(`key ${change.key}: ${change.value} comes behind ${before}`);
    counts.set(change.key, change.value);
  }
  expect(counts).toEqual(new Map([...added].filter(([, count]) => count > 0)));
}

export function sum(parts: readonly (readonly [number, number][])[]): Map<number, number> {
  const all = new Map<number, number>();
  for (const part of parts) for (const [key, count] of part) all.set(key, (all.get(key) ?? 0) + count);
  return all;
}
