/**
 * What others offer, and what we do: `npm run perf:peers -- [--json] [--quick]`. Nothing here asserts speed: missed
 * targets, and what is slower than its peer, stand in the table like the rest. Wrong answers end it with an error.
 */
import { oneThread } from './peers/one-thread.ts';
import { storeBesideMap } from './peers/store.ts';
import { twoThreads } from './peers/two-threads.ts';
import { describeMachine, machine, readFlags, rowTable } from './support/report.ts';

const { json, quick } = readFlags();

const here = machine(['sorted-btree']);
const entries = quick ? 20_000 : 1_000_000;
if (!json) {
  const size = `${entries.toLocaleString('en')} random u32 keys with f64 values`;
  process.stdout.write(`${describeMachine(here)}${size}; medians over rounds, by turns\n\n`);
}

const rows = [
  ...(await oneThread({ entries, chunk: quick ? 1024 : 16_384, plan: quick ? { rounds: 2, chunks: 1 } : { rounds: 11, chunks: 8 } })),
  ...(await twoThreads({ entries, ...(quick ? { rounds: 2, ms: 20 } : { rounds: 11, ms: 400 }) })),
  ...(await storeBesideMap({ entries, chunk: quick ? 512 : 2048, plan: quick ? { rounds: 2, chunks: 1 } : { rounds: 11, chunks: 8 } })),
];

const missed = rows.filter((row) => row.met === false).length;
if (json) process.stdout.write(`${JSON.stringify({ machine: here, entries, quick, rows }, undefined, 2)}\n`);
else {
  const verdict = quick ? 'quick run: the times mean nothing' : missed === 0 ? 'all targets met' : `${missed} targets missed`;
  process.stdout.write(`${rowTable(rows)}\n\n${verdict}; every answer was compared\n`);
}
