/**
 * Whether memory is used again: `npm run perf:churn -- [--json] [--quick]`. Ten million overwrites and deletes of values of 0
 * to 2,000 bytes (most of them short), under string keys; after each million, how much memory is taken. Everything that is
 * read back is compared with what was written. Ends with exit code 1 if the second half takes more than the first did.
 */
import { SharedTree } from '../index.ts';
import { randomWords } from './support/random.ts';
import { describeMachine, machine, readFlags, table } from './support/report.ts';

const { json, quick } = readFlags();
const OPERATIONS = quick ? 200_000 : 10_000_000;
const STEPS = 10;
const KEYS = quick ? 2000 : 50_000;
const LONGEST = 2000;
/** Share by which the peak of the second half may be above that of the first: sizes are drawn anew each time. */
const TOLERANCE = 0.02;

const next = randomWords(20261124);
const tree = SharedTree.create({ key: 'string', value: 'bytes' });
const bytes = new Uint8Array(LONGEST);
for (let i = 0; i < LONGEST; i++) bytes[i] = i;
/** Length of the value under each key; -1: none. */
const lengths = new Int16Array(KEYS).fill(-1);
const keyOf = (key: number) => `value/${key}`;

const taken: number[] = [];
const start = performance.now();
for (let step = 0; step < STEPS; step++) {
  for (let i = 0; i < OPERATIONS / STEPS; i++) {
    const key = next() % KEYS;
    if (next() % 4 === 0) {
      if (tree.delete(keyOf(key)) !== lengths[key] >= 0) throw new Error(`delete ${keyOf(key)}`);
      lengths[key] = -1;
    } else {
      const length = next() % (next() % 8 === 0 ? LONGEST : 100);
      if (tree.put(keyOf(key), bytes.subarray(0, length)) !== lengths[key] < 0) throw new Error(`put ${keyOf(key)}`);
      lengths[key] = length;
    }
  }
  for (let key = 0; key < KEYS; key++) {
    const value = tree.get(keyOf(key));
    if ((value?.length ?? -1) !== lengths[key] || value?.some((byte, i) => byte !== (i & 255))) {
      throw new Error(`${keyOf(key)} is not what was written`);
    }
  }
  taken.push(tree.stats().bytesUsed);
  process.stderr.write(`churn: ${Math.round(((step + 1) * 100) / STEPS)} %\n`);
}
const seconds = (performance.now() - start) / 1000;
tree.check();
const half = (from: number) => Math.max(...taken.slice(from, from + STEPS / 2));
const growth = half(STEPS / 2) / half(0) - 1;
const here = machine([]);
if (json) {
  process.stdout.write(
    `${JSON.stringify({ machine: here, operations: OPERATIONS, keys: KEYS, taken, growth, seconds })}\n`,
  );
} else {
  const lines = taken.map((bytesUsed, step) => [
    `${(((step + 1) * OPERATIONS) / STEPS / 1e6).toFixed(1)} million`,
    `${(bytesUsed / 2 ** 20).toFixed(1)} MiB`,
  ]);
  process.stdout.write(`${describeMachine(here)}${table([['operations', 'memory taken'], ...lines], [0, 1])}\n`);
  process.stdout.write(
    `growth of the peak in the second half: ${(100 * growth).toFixed(2)} %, ${seconds.toFixed(0)} s\n`,
  );
}
if (growth > TOLERANCE) process.exitCode = 1;
