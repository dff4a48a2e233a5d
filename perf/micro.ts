/**
 * What each operation of the tree, and each part of the ordered path, costs by itself: `npm run perf:micro -- [--json]
 * [--quick]`. Times are mitata's, from one thread on a tree that nobody else uses. They show where time goes; whether it is well spent, perf:peers shows.
 */
import { do_not_optimize, measure } from 'mitata';
import { chars, object, u32 } from 'typed-binary';
import { f64, type KeyType, SharedTree, type ValueType } from '../index.ts';
import type { Case } from './micro/case.ts';
import { barriers, codecs, conflictSets, queues, rings } from './micro/streams.ts';
import { randomKeys } from './support/random.ts';
import { describeMachine, machine, readFlags, short, table } from './support/report.ts';

const { json, quick } = readFlags();

/** Entries of the trees; a power of two, and so is the number of keys asked for in turn. */
const ENTRIES = quick ? 2 ** 11 : 2 ** 20;
/** Entries of a tree that is loaded, and of one that is attached to. */
const LOADED = quick ? 1_000 : 100_000;

/** Nanoseconds per operation. */
interface Result {
  readonly group: string;
  readonly name: string;
  readonly mean: number;
  readonly min: number;
  readonly p25: number;
  readonly median: number;
  readonly p75: number;
  readonly p99: number;
}

async function run(group: string, { name, operations, call }: Case): Promise<Result> {
  const options = quick ? { min_cpu_time: 3e5, min_samples: 3, warmup_samples: 1 } : {};
  const { avg, min, p25, p50, p75, p99 } = await measure(() => do_not_optimize(call()), options);
  const [mean, least, lower, median, upper, rare] = [avg, min, p25, p50, p75, p99].map((time) => time / operations);
  return { group, name, mean, min: least, p25: lower, median, p75: upper, p99: rare };
}

/** One node: a tree that has only one, of more and more keys. Most of it is the search. */
function searches(): Case[] {
  return [4, 16, 64, 256, 1024, 4096].map((fanout) => {
    const tree = SharedTree.create({ key: 'u32', value: 'f64', fanout });
    for (let i = 0; i < fanout; i++) tree.put(i * 3, i);
    let i = 0;
    return {
      name: `has in one node of ${fanout}`,
      operations: 1,
      call() {
        i = (i * 5 + 7) & 4095;
        return tree.has(i % (fanout * 3));
      },
    };
  });
}

/** A tree's operations. `keys` are there, `others` are not; both are powers of two in number. */
function operations<K, V>(tree: SharedTree<K, V>, keys: K[], others: K[], make: (i: number) => V): Case[] {
  const some = keys.length - 1;
  const few = others.length - 1;
  const written = make(7);
  let i = 0;
  const cases: Case[] = [
    { name: 'get', operations: 1, call: () => tree.get(keys[i++ & some]) },
    { name: 'get, absent', operations: 1, call: () => tree.get(others[i++ & few]) },
    { name: 'has', operations: 1, call: () => tree.has(keys[i++ & some]) },
    { name: 'floor', operations: 1, call: () => tree.floor(others[i++ & few]) },
    { name: 'put, present', operations: 1, call: () => tree.put(keys[i++ & some], written) },
    {
      name: 'insert and delete',
      operations: 2,
      call() {
        const key = others[i++ & few];
        return tree.insert(key, written) && tree.delete(key);
      },
    },
  ];
  for (const limit of [10, 100, 1000]) {
    cases.push({
      name: `forRange, ${limit} entries`,
      operations: 1,
      call() {
        let last: V | undefined;
        tree.forRange({ gte: keys[i++ & some], limit }, (_, value) => {
          last = value;
        });
        return last;
      },
    });
  }
  for (const size of [1, 4, 16, 64, 256]) {
    const out: (V | undefined)[] = new Array(size);
    cases.push({
      name: `getMany by ${size}, per key`,
      operations: size,
      call() {
        i += size;
        const from = i & some & -size;
        return tree.getMany(keys.slice(from, from + size), out);
      },
    });
  }
  cases.push({ name: 'digest', operations: 1, call: () => tree.digest() });
  return cases;
}

/** The same with typed arrays, which go over in one copy. */
function typedBatches(tree: SharedTree, keys: Uint32Array): Case[] {
  let i = 0;
  return [1, 4, 16, 64, 256].map((size) => {
    const out = new Float64Array(size);
    return {
      name: `getMany by ${size}, typed arrays, per key`,
      operations: size,
      call() {
        i += size;
        const from = i & (keys.length - 1) & -size;
        return tree.getMany(keys.subarray(from, from + size), out);
      },
    };
  });
}

function filled<K, V>(tree: SharedTree<K, V>, keys: K[], make: (i: number) => V): SharedTree<K, V> {
  tree.putMany(
    keys,
    Array.from(keys, (_, i) => make(i)),
  );
  return tree;
}

/** Whole trees. */
function wholes(): Case[] {
  const entries = Array.from({ length: LOADED }, (_, i): [number, number] => [i * 2, i]);
  const attached = SharedTree.create({ key: 'u32', value: 'f64' });
  attached.bulkLoad(entries);
  return [
    {
      name: `create and bulkLoad ${LOADED} entries, per entry`,
      operations: LOADED,
      call: () => SharedTree.create({ key: 'u32', value: 'f64', memory: '16MB' }).bulkLoad(entries),
    },
    { name: 'attach and close', operations: 1, call: () => SharedTree.attach(attached.handle).close() },
    { name: 'stats', operations: 1, call: () => attached.stats() },
    { name: 'check, per entry', operations: LOADED, call: () => attached.check() },
  ];
}

const words = randomKeys(2 * ENTRIES, 31415);
const numbers = Array.from(words.subarray(0, ENTRIES));
const otherNumbers = Array.from(words.subarray(ENTRIES));
const bigints = numbers.map((key) => BigInt(key) << 20n);
const otherBigints = otherNumbers.map((key) => BigInt(key) << 20n);
const Quote = object({ symbol: chars(4), price: f64, size: u32 });
const quote = (i: number) => ({ symbol: 'ABCD', price: i / 4, size: i });

function makeTree<const KT extends KeyType, const VT extends ValueType>(key: KT, value: VT) {
  return SharedTree.create({ key, value });
}

// Made one by one, so that only one large tree is there at a time.
const syncPoints = await barriers();
const groups: [name: string, cases: () => Case[]][] = [
  ['one node', searches],
  [
    'u32 -> f64',
    () => {
      const tree = filled(makeTree('u32', 'f64'), numbers, Number);
      return [...operations(tree, numbers, otherNumbers, Number), ...typedBatches(tree, words.subarray(0, ENTRIES))];
    },
  ],
  ['f64 -> f64', () => operations(filled(makeTree('f64', 'f64'), numbers, Number), numbers, otherNumbers, Number)],
  ['i64 -> i64', () => operations(filled(makeTree('i64', 'i64'), bigints, BigInt), bigints, otherBigints, BigInt)],
  [
    'u32 -> record of 16 bytes',
    () => operations(filled(makeTree('u32', Quote), numbers, quote), numbers, otherNumbers, quote),
  ],
  ['whole trees', wholes],
  ['rings', rings],
  ['queues between threads', queues],
  ['sync points and wake-ups', () => syncPoints.cases],
  ['codecs', codecs],
  ['conflict-ordered set', conflictSets],
];

const here = machine(['mitata']);
if (!json) process.stdout.write(`${describeMachine(here)}${ENTRIES.toLocaleString('en')} entries; nanoseconds\n`);
const results: Result[] = [];
for (const [group, cases] of groups) {
  const lines = [[group, 'median', 'p25', 'p75', 'p99', 'min']];
  for (const one of cases()) {
    const result = await run(group, one);
    results.push(result);
    lines.push([one.name, ...[result.median, result.p25, result.p75, result.p99, result.min].map(short)]);
  }
  if (!json) process.stdout.write(`\n${table(lines, [1, 2, 3, 4, 5])}\n`);
}
await syncPoints.close();
if (json)
  process.stdout.write(`${JSON.stringify({ machine: here, entries: ENTRIES, quick, results }, undefined, 2)}\n`);
