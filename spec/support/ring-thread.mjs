/** A producer or a reader of one ring; see ring.spec.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { FULL, GroupRing, RingReader } from '../../dist/workers/ring.js';
import { Streams } from '../../dist/workers/streams.js';

const { memory, role, number, records, producers } = workerData;
const streams = Streams.attach(memory);
const nap = new Int32Array(new SharedArrayBuffer(4));

/** Slots of record i of a producer: 1 to 5. */
const slotsOf = (producer, i) => 1 + ((producer * 7 + i * 3) % 5);
/** A word that depends on everything about the record and its place in it. */
const wordOf = (producer, i, word) => Math.imul(producer * 1_000_003 + i, 2654435761) ^ Math.imul(word, 40503);

if (role === 'producer') {
  const ring = new GroupRing(streams, 0);
  for (let i = 0; i < records; i++) {
    const slots = slotsOf(number, i);
    const words = new Int32Array(slots * 16);
    for (let w = 4; w < words.length; w++) words[w] = wordOf(number, i, w);
    words[0] = 1 | (slots << 16);
    words[1] = number;
    words[2] = i;
    const bytes = new Uint8Array(words.buffer);
    for (;;) {
      if (ring.tryAppend(bytes, slots, 0) !== FULL) break;
      const ticket = ring.roomTicket();
      // The last look before sleeping. A lost wake-up would leave this thread asleep for ever.
      if (ring.tryAppend(bytes, slots, 0) !== FULL) break;
      Atomics.wait(streams.words, ring.roomSignal, ticket);
    }
    if (i % 97 === 0) Atomics.wait(nap, 0, 0, 0.2);
  }
  parentPort.postMessage('done');
} else {
  const reader = new RingReader(streams, 0, number);
  const signal = streams.executor(number, 0) >> 2;
  const next = new Array(producers).fill(0);
  const buffer = new Uint8Array(streams.shape.ringSlots * 64);
  const words = new Int32Array(buffer.buffer);
  let order = 0;
  let left = producers * records;
  while (left > 0) {
    const slots = reader.poll(streams.shape.ringSlots);
    if (slots === 0) {
      const ticket = Atomics.load(streams.words, signal);
      reader.announceSleep();
      if (reader.poll(streams.shape.ringSlots) === 0) Atomics.wait(streams.words, signal, ticket);
      reader.awake();
      continue;
    }
    reader.copyTo(buffer, 0, slots);
    reader.advance(slots);
    for (let at = 0; at < slots; ) {
      const base = at * 16;
      const [producer, i] = [words[base + 1], words[base + 2]];
      const size = words[base] >>> 16;
      if (size !== slotsOf(producer, i)) throw new Error(`reader ${number}: a record of ${size} slots`);
      if (i !== next[producer])
        throw new Error(`reader ${number}: record ${i} of ${producer}, expected ${next[producer]}`);
      next[producer]++;
      for (let w = 4; w < size * 16; w++) {
        if (words[base + w] !== wordOf(producer, i, w))
          throw new Error(`reader ${number}: record ${i} of ${producer} is torn at word ${w}`);
      }
      order = Math.imul(order ^ (producer * 65537 + i), 0x01000193);
      at += size;
      left--;
    }
    if (left % 89 === number) Atomics.wait(nap, 0, 0, 0.2);
  }
  parentPort.postMessage(order);
}
