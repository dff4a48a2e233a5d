/**
 * Which country an IPv4 address belongs to, asked by several threads of one copy of the table.
 *
 *   node demo/examples/ip-country.js [ADDRESS...]
 *
 * The table has a row for each range of addresses, under the range's first one. So the range that an address may lie in is
 * the entry with the greatest key not above it: `floor`.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isIPv4 } from 'node:net';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { SharedTree } from 'sabtree/tree';
import { chars, object, u32 } from 'typed-binary';

const THREADS = 3;
/** Lookups of each thread. */
const LOOKUPS = 200_000;

const Range = object({ end: u32, country: chars(2) });

/** The rows of the table, sorted: [first address, { last address, country }]. */
function* readTable() {
  const path = createRequire(import.meta.url).resolve('@ip-location-db/asn-country/asn-country-ipv4-num.csv');
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line === '') continue;
    const [start, end, country] = line.split(',');
    yield [Number(start), { end: Number(end), country }];
  }
}

/** The country of an address; undefined if no range has it. */
function countryOf(ranges, address) {
  const found = ranges.floor(address);
  return found !== undefined && address <= found[1].end ? found[1].country : undefined;
}

/** '1.2.3.4' as a number. */
function addressOf(text) {
  if (!isIPv4(text)) {
    console.error(`not an IPv4 address: ${text}`);
    process.exit(2);
  }
  return text.split('.').reduce((number, part) => number * 256 + Number(part), 0);
}

if (isMainThread) {
  const ranges = SharedTree.create({ key: 'u32', value: Range, memory: '64MB' });
  console.log(`${ranges.bulkLoad(readTable())} ranges`);
  const asked = process.argv.length > 2 ? process.argv.slice(2) : ['1.1.1.1', '8.8.8.8', '130.102.6.1', '10.0.0.1'];
  for (const text of asked) console.log(`${text}: ${countryOf(ranges, addressOf(text)) ?? 'unknown'}`);

  const threads = Array.from(
    { length: THREADS },
    (_, id) => new Worker(new URL(import.meta.url), { workerData: { id, handle: ranges.handle } }),
  );
  const counts = (await Promise.all(threads.map((thread) => once(thread, 'message')))).flat();
  const known = counts.reduce((sum, count) => sum + count, 0);
  console.log(`${THREADS * LOOKUPS} lookups by ${THREADS} threads: ${known} in a known range`);
} else {
  const { id, handle } = workerData;
  const ranges = SharedTree.attach(handle, { value: Range });
  let known = 0;
  for (let i = 0; i < LOOKUPS; i++) {
    // Addresses all over the place, other ones in each thread.
    if (countryOf(ranges, Math.imul(i * THREADS + id, 2654435761) >>> 0) !== undefined) known++;
  }
  ranges.close();
  parentPort.postMessage(known);
}
