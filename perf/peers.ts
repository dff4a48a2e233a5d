/**
 * What others offer, and what we do: `npm run perf:peers -- [--json] [--quick]`. Nothing here asserts speed: missed
 * targets, and what is slower than its peer, stand in the table like the rest. Wrong answers end it with an error.
 */
import { insertsAndDeletes, type ModelSizes } from './peers/models.ts';
import { oneThread } from './peers/one-thread.ts';
import { storeBesideMap } from './peers/store.ts';
import { twoThreads } from './peers/two-threads.ts';
import type { Row } from './support/measure.ts';
import { describeMachine, machine, readFlags, rowTable } from './support/report.ts';

const { json, quick } = readFlags();
const entries = quick ? 20_000 : 1_000_000;
const here = machine(['sorted-btree']);
if (!json) {
  const content = `${entries.toLocaleString('en')} random u32 keys with f64 values`;
  process.stdout.write(`${describeMachine(here)}${content}; medians over rounds, by turns\n\n`);
}

const models = (replicas: number, sizes: Pick<ModelSizes, 'entries' | 'chunk' | 'plan'>) =>
  insertsAndDeletes({ executors: 2, replicas, ...sizes });

const rows: Row[] = quick
  ? [
      ...(await oneThread({ entries, chunk: 1024, plan: { rounds: 2, chunks: 1 } })),
      ...(await twoThreads({ entries, rounds: 2, ms: 20 })),
      ...(await storeBesideMap({ entries, chunk: 512, calls: false, plan: { rounds: 2, chunks: 1 } })),
      ...(await storeBesideMap({ entries, chunk: 512, calls: true, plan: { rounds: 2, chunks: 1 } })),
      ...(await models(1, { entries: 5000, chunk: 512, plan: { rounds: 1, chunks: 1 } })),
    ]
  : [
      ...(await oneThread({ entries, chunk: 16_384, plan: { rounds: 11, chunks: 8 } })),
      ...(await twoThreads({ entries, rounds: 11, ms: 400 })),
      ...(await storeBesideMap({ entries, chunk: 65_536, calls: false, plan: { rounds: 11, chunks: 2 } })),
      ...(await storeBesideMap({ entries, chunk: 2048, calls: true, plan: { rounds: 7, chunks: 4 } })),
      ...(await models(1, { entries: 50_000, chunk: 2048, plan: { rounds: 7, chunks: 1 } })),
      ...(await models(2, { entries: 50_000, chunk: 2048, plan: { rounds: 7, chunks: 1 } })),
    ];

if (json) process.stdout.write(`${JSON.stringify({ machine: here, entries, quick, rows }, undefined, 2)}\n`);
else {
  const missed = rows.filter((row) => row.met === false).length;
  const verdict = missed === 0 ? 'all targets met' : `${missed} targets missed`;
  process.stdout.write(`${rowTable(rows)}\n\n${quick ? 'quick run: the times mean nothing' : verdict}\n`);
}
