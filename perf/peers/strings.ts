/**
 * Short string keys: SharedTree beside lmdb (an ordered map in a memory-mapped file, which several threads may open) and
 * sorted-btree (an ordered map in plain JavaScript, for one thread); and a replicated store, whose puts are commands that go through a
 * stream to an executor's thread and back. All hold the same entries; gets ask for one key at a
 * time, in random order, and their values are summed and compared.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import sortedBTree from 'sorted-btree';
import { open, SharedTree } from '../../index.ts';
import { type Act, alternate, compare, type Plan, type Row } from '../support/measure.ts';
import { shuffle } from '../support/random.ts';
import { installLmdb, openLmdb } from './lmdb.ts';
import type { StringAnswer, StringOrder } from './strings-worker.ts';

export interface StringSizes {
  readonly entries: number;
  /** Operations in a chunk. */
  readonly chunk: number;
  readonly plan: Plan;
  /** Rounds with two threads. */
  readonly rounds: number;
}

/** Puts in one transaction of lmdb. */
const TRANSACTION = 1000;

/** The i-th key, 8 to 18 bytes. */
function stringKey(i: number): string {
  return `${['user:', 'order/', 'k'][i % 3]}${Math.imul(i, 0x9e3779b1) >>> 0}`;
}

/** Compares them; about a minute at full size. */
export async function stringKeys({ entries, chunk: size, plan, rounds }: StringSizes): Promise<Row[]> {
  installLmdb();
  const folder = mkdtempSync(join(tmpdir(), 'sabtree-lmdb-'));
  const durable = openLmdb(join(folder, 'durable'));
  const quick = openLmdb(join(folder, 'quick'), { noSync: true });
  const tree = SharedTree.create({ key: 'string', value: 'f64' });
  const btree = new sortedBTree.default<string, number>();
  const options = { value: 'f64', model: 'keyed', executors: 1, replicas: 1, memory: '256MB' } as const;
  const store = await open({ key: 'string', ...options });
  const numeric = await open({ key: 'u32', ...options });
  try {
    const order = new Uint32Array(entries);
    for (let i = 0; i < entries; i++) order[i] = i;
    shuffle(order, 4711);
    const keys = Array.from(order, stringKey);
    keys.forEach((key, i) => {
      tree.put(key, i);
      btree.set(key, i);
    });
    const numbers = Uint32Array.from(order);
    for (let from = 0; from < entries; from += TRANSACTION) {
      const values = keys.slice(from, from + TRANSACTION).map((_, i) => from + i);
      store.putManySync(keys.slice(from, from + TRANSACTION), values);
      numeric.putManySync(numbers.subarray(from, from + TRANSACTION), values);
    }
    for (const store of [durable, quick]) {
      store.transactionSync(() => keys.forEach((key, i) => void store.putSync(key, i)));
    }
    shuffle(order, 815);
    const asked = Array.from(order, (i) => keys[i]);
    const part = (chunk: number) => {
      const start = (chunk % Math.floor(entries / size)) * size;
      return asked.slice(start, start + size);
    };

    const get: Act = {
      name: 'get',
      operations: size,
      target: 1.5,
      sides: [
        {
          name: 'SharedTree',
          run(chunk) {
            let sum = 0;
            for (const key of part(chunk)) sum += tree.get(key) as number;
            return sum;
          },
        },
        {
          name: 'lmdb',
          run(chunk) {
            let sum = 0;
            for (const key of part(chunk)) sum += quick.get(key) as number;
            return sum;
          },
        },
      ],
    };
    const getBeside: Act = {
      ...get,
      sides: [
        get.sides[0],
        {
          name: 'sorted-btree',
          run(chunk) {
            let sum = 0;
            for (const key of part(chunk)) sum += btree.get(key) as number;
            return sum;
          },
        },
      ],
    };
    const check = (value: (key: string) => number | undefined) => (chunk: number) =>
      part(chunk).reduce((sum, key) => sum + (value(key) as number), 0);
    const puts = (name: string, store: typeof quick, target: number): Act => ({
      name,
      operations: size,
      target,
      sides: [
        {
          name: 'SharedTree',
          run(chunk) {
            let value = chunk;
            for (const key of part(chunk)) tree.put(key, value++);
            return 0;
          },
          verify: check((key) => tree.get(key)),
        },
        {
          name: `lmdb, ${TRANSACTION} to a transaction`,
          run(chunk) {
            const list = part(chunk);
            for (let from = 0; from < list.length; from += TRANSACTION) {
              const to = Math.min(list.length, from + TRANSACTION);
              store.transactionSync(() => {
                for (let i = from; i < to; i++) store.putSync(list[i], chunk + i);
              });
            }
            return 0;
          },
          verify: check((key) => store.get(key)),
        },
      ],
    });
    const number = new Map(keys.map((key, i) => [key, numbers[i]]));
    const askedNumbers = Uint32Array.from(asked, (key) => number.get(key) as number);
    const commands: Act['sides'][number] = {
      name: `string store, ${TRANSACTION} at a time`,
      run(chunk) {
        const list = part(chunk);
        for (let from = 0; from < list.length; from += TRANSACTION) {
          const some = list.slice(from, from + TRANSACTION);
          store.putManySync(
            some,
            some.map((_, i) => chunk + from + i),
          );
        }
        return 0;
      },
      verify: check((key) => store.tree.get(key)),
    };
    const storeBesideLmdb: Act = {
      name: 'put, as commands',
      operations: size,
      sides: [commands, puts('', quick, 0).sides[1]],
    };
    const storeBesideNumeric: Act = {
      ...storeBesideLmdb,
      sides: [
        commands,
        {
          name: `u32 store, ${TRANSACTION} at a time`,
          run(chunk) {
            const start = (chunk % Math.floor(entries / size)) * size;
            for (let from = 0; from < size; from += TRANSACTION) {
              const some = askedNumbers.subarray(start + from, start + Math.min(size, from + TRANSACTION));
              numeric.putManySync(
                some,
                Array.from(some, (_, i) => chunk + from + i),
              );
            }
            return 0;
          },
          verify: check((key) => numeric.tree.get(number.get(key) as number)),
        },
      ],
    };
    const rows = [
      ...(await alternate([get], plan)),
      ...(await alternate([getBeside], plan)),
      ...(await alternate([puts('put, lmdb without fsync', quick, 3)], plan)),
      ...(await alternate([puts('put, lmdb durable', durable, 3)], plan)),
      await twoThreads(tree, join(folder, 'quick'), asked, rounds),
      ...(await alternate([storeBesideLmdb], plan)),
      ...(await alternate([storeBesideNumeric], plan)),
    ];
    tree.check();
    return rows;
  } finally {
    await store.close();
    await numeric.close();
    await durable.close();
    await quick.close();
    rmSync(folder, { recursive: true });
  }
}

/** Two threads get at once: both from the tree, both from lmdb, by turns. */
async function twoThreads(
  tree: SharedTree<string, number>,
  path: string,
  keys: string[],
  rounds: number,
): Promise<Row> {
  const workers = Array.from({ length: 2 }, () => {
    return new Worker(new URL('./strings-worker.js', import.meta.url), {
      workerData: { handle: tree.handle, path, keys },
    });
  });
  const failed = Promise.race(workers.map((worker) => once(worker, 'error'))).then(([error]) => {
    throw error;
  });
  const ask = async (worker: Worker, order: StringOrder) => {
    const answer = once(worker, 'message');
    worker.postMessage(order);
    const [it] = await Promise.race([answer, failed]);
    return it as StringAnswer;
  };
  try {
    const times: Record<StringOrder, number[]> = { tree: [], lmdb: [] };
    for (let round = -1; round < rounds; round++) {
      const sums: number[] = [];
      for (const order of round % 2 === 0 ? (['tree', 'lmdb'] as const) : (['lmdb', 'tree'] as const)) {
        const answers = await Promise.all(workers.map((worker) => ask(worker, order)));
        sums.push(...answers.map(({ sum }) => sum));
        if (round >= 0) times[order].push(Math.max(...answers.map(({ each }) => each)) / 2);
      }
      // The puts before gave both the same values.
      if (new Set(sums).size !== 1) throw new Error(`two threads: sums ${sums.join(', ')}`);
    }
    return compare('get, 2 threads', times.tree, 'lmdb, 2 threads', times.lmdb, 1);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
