/** Every thread of a store in a browser: entry file. One script for all; the thread's name says which of them it is. */
import { announceLife } from './life.ts';
import { ownName } from './name.ts';

const ENTRIES: Readonly<Record<string, () => Promise<unknown>>> = {
  executor: () => import('../executor-worker.ts'),
  supervisor: () => import('../supervisor-worker.ts'),
  snapshot: () => import('../durable/snapshot-worker.ts'),
  waiter: () => import('./waiter.ts'),
};

const { role, life } = ownName();

async function begin(): Promise<void> {
  await ENTRIES[role]();
  await announceLife(life);
}

void begin();
