/** Short string keys beside lmdb and sorted-btree: `npm run perf:strings -- [--json] [--quick]`. Asserts no speed. */
import { LMDB_VERSION } from './peers/lmdb.ts';
import { stringKeys } from './peers/strings.ts';
import { describeMachine, machine, readFlags, rowTable } from './support/report.ts';

const { json, quick } = readFlags();
const entries = quick ? 5000 : 200_000;
const rows = await stringKeys(
  quick
    ? { entries, chunk: 1000, plan: { rounds: 2, chunks: 1 }, rounds: 2 }
    : { entries, chunk: 20_000, plan: { rounds: 11, chunks: 5 }, rounds: 11 },
);
const here = machine(['sorted-btree']);
if (json) {
  process.stdout.write(
    `${JSON.stringify({ machine: here, lmdb: LMDB_VERSION, entries, quick, rows }, undefined, 2)}\n`,
  );
} else {
  const content = `${entries.toLocaleString('en')} string keys of 8 to 18 bytes, number values; lmdb ${LMDB_VERSION}`;
  process.stdout.write(`${describeMachine(here)}${content}\n\n${rowTable(rows)}\n`);
}
