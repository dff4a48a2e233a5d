/**
 * One thread: SharedTree beside sorted-btree, the fastest ordered map in plain JavaScript that we know, and beside Map,
 * which keeps no order.
 *
 *   random u32 keys --> SharedTree | sorted-btree | Map     all three hold the same entries
 *                       chunk 0      chunk 0        chunk 0     by turns, answers compared
 *                       chunk 1      ...
 *
 * Every side has a loop of its own, written out: a loop that two sides shared would be compiled for both.
 */
import sortedBTree from 'sorted-btree';
import { SharedTree } from '../../index.ts';
import { type Act, alternate, type Plan, type Row } from '../support/measure.ts';
import { randomKeys, shuffle } from '../support/random.ts';

/** Entries that a scan visits. */
const SCAN = 100;
/** Keys in a batch. */
const BATCH = 64;
/** Chunks of keys that come and go. */
const FRESH_CHUNKS = 8;

export interface Sizes {
  /** Entries in the maps. */
  readonly entries: number;
  /** Operations in a chunk, a multiple of BATCH. */
  readonly chunk: number;
  readonly plan: Plan;
}

/** Compares them; about 90 seconds at full size. */
export async function oneThread({ entries, chunk: size, plan }: Sizes): Promise<Row[]> {
  const tree = SharedTree.create({ key: 'u32', value: 'f64' });
  const btree = new sortedBTree.default<number, number>();
  const map = new Map<number, number>();
  const all = randomKeys(entries + FRESH_CHUNKS * size, 12345);
  const keys = all.subarray(0, entries);
  for (let i = 0; i < entries; i++) {
    tree.put(keys[i], i);
    btree.set(keys[i], i);
    map.set(keys[i], i);
  }
  const sorted = keys.slice().sort();
  // They are asked for in another order than they were put in.
  shuffle(keys, 54321);

  const partOf = (from: Uint32Array, chunk: number) => {
    const start = (chunk % Math.floor(from.length / size)) * size;
    return from.subarray(start, start + size);
  };
  const present = (chunk: number) => partOf(keys, chunk);
  const absent = (chunk: number) => partOf(all.subarray(entries), chunk);

  const get: Act = {
    name: 'get',
    operations: size,
    target: 2,
    sides: [
      {
        name: 'SharedTree',
        run(chunk) {
          let sum = 0;
          for (const key of present(chunk)) sum += tree.get(key) as number;
          return sum;
        },
      },
      {
        name: 'sorted-btree',
        run(chunk) {
          let sum = 0;
          for (const key of present(chunk)) sum += btree.get(key) as number;
          return sum;
        },
      },
      {
        name: 'Map (no order)',
        run(chunk) {
          let sum = 0;
          for (const key of present(chunk)) sum += map.get(key) as number;
          return sum;
        },
      },
    ],
  };

  const sums = {
    tree: (part: Uint32Array) => part.reduce((sum, key) => sum + (tree.get(key) ?? 0), 0),
    btree: (part: Uint32Array) => part.reduce((sum, key) => sum + (btree.get(key) ?? 0), 0),
    map: (part: Uint32Array) => part.reduce((sum, key) => sum + (map.get(key) ?? 0), 0),
  };

  const overwrite: Act = {
    name: 'put, key present',
    operations: size,
    target: 1.5,
    sides: [
      {
        name: 'SharedTree',
        run(chunk) {
          let value = chunk;
          let added = 0;
          for (const key of present(chunk)) if (tree.put(key, value++)) added++;
          return added;
        },
        verify: (chunk) => sums.tree(present(chunk)),
      },
      {
        name: 'sorted-btree',
        run(chunk) {
          let value = chunk;
          let added = 0;
          for (const key of present(chunk)) if (btree.set(key, value++)) added++;
          return added;
        },
        verify: (chunk) => sums.btree(present(chunk)),
      },
      {
        name: 'Map (no order)',
        run(chunk) {
          let value = chunk;
          for (const key of present(chunk)) map.set(key, value++);
          return 0;
        },
        verify: (chunk) => sums.map(present(chunk)),
      },
    ],
  };

  const insert: Act = {
    name: 'put, key absent',
    operations: size,
    target: 1.5,
    sides: [
      {
        name: 'SharedTree',
        run(chunk) {
          let value = chunk;
          for (const key of absent(chunk)) tree.put(key, value++);
          return tree.size;
        },
        verify: (chunk) => sums.tree(absent(chunk)),
      },
      {
        name: 'sorted-btree',
        run(chunk) {
          let value = chunk;
          for (const key of absent(chunk)) btree.set(key, value++);
          return btree.size;
        },
        verify: (chunk) => sums.btree(absent(chunk)),
      },
      {
        name: 'Map (no order)',
        run(chunk) {
          let value = chunk;
          for (const key of absent(chunk)) map.set(key, value++);
          return map.size;
        },
        verify: (chunk) => sums.map(absent(chunk)),
      },
    ],
  };

  // Takes away what `insert` has just put in.
  const remove: Act = {
    name: 'delete',
    operations: size,
    sides: [
      {
        name: 'SharedTree',
        run(chunk) {
          for (const key of absent(chunk)) tree.delete(key);
          return tree.size;
        },
        verify: (chunk) => sums.tree(absent(chunk)),
      },
      {
        name: 'sorted-btree',
        run(chunk) {
          for (const key of absent(chunk)) btree.delete(key);
          return btree.size;
        },
        verify: (chunk) => sums.btree(absent(chunk)),
      },
      {
        name: 'Map (no order)',
        run(chunk) {
          for (const key of absent(chunk)) map.delete(key);
          return map.size;
        },
        verify: (chunk) => sums.map(absent(chunk)),
      },
    ],
  };

  const scans = Math.ceil(size / SCAN);
  const mostStart = entries - SCAN - 1;
  const startOf = (chunk: number, i: number) => (Math.imul(chunk * scans + i + 1, 0x9e3779b1) >>> 0) % mostStart;

  const scan: Act = {
    name: `forRange over ${SCAN} entries`,
    operations: scans,
    target: 2,
    sides: [
      {
        name: 'SharedTree',
        run(chunk) {
          let sum = 0;
          for (let i = 0; i < scans; i++) {
            const start = startOf(chunk, i);
            tree.forRange({ gte: sorted[start], lt: sorted[start + SCAN] }, (key, value) => {
              sum += key + value;
            });
          }
          return sum;
        },
      },
      {
        name: 'sorted-btree',
        run(chunk) {
          let sum = 0;
          for (let i = 0; i < scans; i++) {
            const start = startOf(chunk, i);
            btree.forRange(sorted[start], sorted[start + SCAN], false, (key, value) => {
              sum += key + value;
            });
          }
          return sum;
        },
      },
    ],
  };

  const iterate: Act = {
    name: `iterator over ${SCAN} entries`,
    operations: scans,
    sides: [
      {
        name: 'SharedTree',
        run(chunk) {
          let sum = 0;
          for (let i = 0; i < scans; i++) {
            const start = startOf(chunk, i);
            for (const [key, value] of tree.range({ gte: sorted[start], limit: SCAN })) sum += key + value;
          }
          return sum;
        },
      },
      {
        name: 'sorted-btree',
        run(chunk) {
          let sum = 0;
          for (let i = 0; i < scans; i++) {
            const start = startOf(chunk, i);
            let left = SCAN;
            for (const [key, value] of btree.entries(sorted[start])) {
              sum += key + value;
              if (--left === 0) break;
            }
          }
          return sum;
        },
      },
    ],
  };

  const values = new Float64Array(BATCH);
  const getMany: Act = {
    name: `getMany by ${BATCH}`,
    operations: size,
    target: 2,
    sides: [
      {
        name: 'getMany',
        run(chunk) {
          const part = present(chunk);
          let sum = 0;
          for (let i = 0; i < size; i += BATCH) {
            tree.getMany(part.subarray(i, i + BATCH), values);
            for (let j = 0; j < BATCH; j++) sum += values[j];
          }
          return sum;
        },
      },
      { name: 'own get', run: get.sides[0].run },
    ],
  };

  const putMany: Act = {
    name: `putMany by ${BATCH}, keys present`,
    operations: size,
    sides: [
      {
        name: 'putMany',
        run(chunk) {
          const part = present(chunk);
          let value = chunk;
          let added = 0;
          for (let i = 0; i < size; i += BATCH) {
            for (let j = 0; j < BATCH; j++) values[j] = value++;
            added += tree.putMany(part.subarray(i, i + BATCH), values);
          }
          return added;
        },
        verify: (chunk) => sums.tree(present(chunk)),
      },
      { name: 'own put', run: overwrite.sides[0].run, verify: (chunk) => sums.tree(present(chunk)) },
    ],
  };

  const rows: Row[] = [];
  for (const acts of [[get], [overwrite], [insert, remove], [scan], [iterate], [getMany], [putMany]]) {
    rows.push(...(await alternate(acts, plan)));
  }
  tree.check();
  tree.close();
  return rows;
}
