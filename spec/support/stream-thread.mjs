/** A writer or a reader of streams; see ring.spec.ts and multicast.spec.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { Multicast } from '../../dist/workers/multicast.js';
import { FULL, GroupRing, RingReader } from '../../dist/workers/ring.js';
import { Streams } from '../../dist/workers/streams.js';

const { memory, role, records = 0, number = 0, seed = 0, go } = workerData;
const streams = Streams.attach(memory);
const { words } = streams;
const { groups, ringSlots } = streams.shape;

let state = (seed ^ Math.imul(number + 1, 0x9e3779b1)) | 1;
/** 0 to n - 1. */
function below(n) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % n;
}

/** A short and uneven wait, so that the two sides meet at every point of their loops. */
function dawdle() {
  for (let i = below(40); i > 0; i--) Atomics.load(words, 0);
}

/** One record per slot: what it is, who wrote it, and its place among the writer's. */
const SINGLE = 1;
const MANY = 2;
const RETRY = 34;
function put(target, slot, kind, serial) {
  const at = slot * 16;
  target.fill(0, at, at + 16);
  target[at] = kind | (1 << 16);
  target[at + 1] = number;
  target[at + 2] = serial;
  for (let i = 6; i < 16; i++) target[at + i] = Math.imul(number * 1_000_003 + serial, 2654435761) ^ i;
}

const roles = {
  'sleepy-writer': () => {
    const ring = new GroupRing(streams, 0);
    const record = new Uint8Array(64);
    const recordWords = new Int32Array(record.buffer);
    let sleeps = 0;
    for (let i = 0; i < records; i++) {
      put(recordWords, 0, SINGLE, i);
      for (;;) {
        dawdle();
        const ticket = ring.roomTicket();
        if (ring.tryAppend(record, 1, 0) !== FULL) break;
        sleeps++;
        Atomics.wait(words, ring.roomSignal, ticket);
      }
    }
    return sleeps;
  },

  'sleepy-reader': () => {
    const reader = new RingReader(streams, 0, 0);
    const signal = streams.executor(0, 0) >> 2;
    const record = new Uint8Array(64);
    const recordWords = new Int32Array(record.buffer);
    let sleeps = 0;
    for (let i = 0; i < records; ) {
      dawdle();
      if (reader.poll(1) === 0) {
        const ticket = Atomics.load(words, signal);
        reader.announceSleep();
        if (reader.poll(1) === 0) {
          sleeps++;
          Atomics.wait(words, signal, ticket);
        }
        reader.awake();
        continue;
      }
      reader.copyTo(record, 0, 1);
      reader.advance(1);
      if (recordWords[2] !== i) throw new Error(`record ${recordWords[2]}, expected ${i}`);
      i++;
    }
    return sleeps;
  },

  /** Many-group and one-group records, mixed; answers how many of each were appended. */
  mixer: () => {
    const multicast = new Multicast(streams, number + 1);
    const { rings, keepFromSingles } = multicast;
    const { maxRun } = rings[0];
    const runs = rings.map(() => {
      const bytes = new Uint8Array(maxRun * 64);
      return { bytes, words: new Int32Array(bytes.buffer), slots: 0, lastMarker: -1 };
    });
    const sent = { singles: 0, many: 0, gaveUp: 0 };
    const single = new Uint8Array(64);
    let serial = 0;
    for (let i = 0; i < records; i++) {
      if (below(3) > 0) {
        const ring = rings[below(groups)];
        put(new Int32Array(single.buffer), 0, SINGLE, serial++);
        while (ring.tryAppend(single, 1, keepFromSingles) === FULL) Atomics.wait(go, 1, 0, 0.05);
        sent.singles++;
        continue;
      }
      // Some commands, each to some of the groups, with one-group records between them.
      const numbered = [];
      const commands = 1 + below(3);
      for (const each of runs) {
        each.slots = 0;
        each.lastMarker = -1;
      }
      for (let command = 0; command < commands; command++) {
        const to = below((1 << groups) - 1) + 1;
        for (let g = 0; g < groups; g++) {
          const each = runs[g];
          if (((to >>> g) & 1) === 0 || each.slots === maxRun) continue;
          numbered.push(command, g, each.slots * 64);
          put(each.words, each.slots++, MANY, serial);
          each.lastMarker = each.slots - 1;
        }
        serial++;
        const g = below(groups);
        if (below(2) === 0 && runs[g].slots < maxRun) {
          put(runs[g].words, runs[g].slots++, SINGLE, serial++);
          sent.singles++;
        }
      }
      while (!multicast.tryAppend(runs, numbered, commands)) {
        sent.gaveUp++;
        Atomics.wait(go, 1, 0, 0.05);
      }
      sent.many += commands;
    }
    return sent;
  },

  /** Retries, one after the other has been read by everybody, as executors send them. */
  retrier: () => {
    const multicast = new Multicast(streams, (1 << 16) + number);
    const record = new Uint8Array(64);
    const recordWords = new Int32Array(record.buffer);
    let done = 0;
    for (let i = 0; i < records && Atomics.load(go, 2) === 0; i++) {
      put(recordWords, 0, RETRY, i);
      while (!multicast.tryRetry(record, recordWords)) {
        if (Atomics.load(go, 2) !== 0) return done;
        Atomics.wait(go, 1, 0, 0.05);
      }
      done++;
      Atomics.wait(go, 1, 0, 0.3);
    }
    return done;
  },

  /** Reads all rings until each of `writers` has said goodbye, and answers what stood in each: flattened records. */
  collector: () => {
    const replica = number;
    const readers = Array.from({ length: groups }, (_, group) => new RingReader(streams, group, replica));
    const seen = readers.map(() => []);
    const buffer = new Uint8Array(ringSlots * 64);
    const view = new Int32Array(buffer.buffer);
    for (let idle = 0; ; ) {
      let found = 0;
      for (const [group, reader] of readers.entries()) {
        if (below(4) === 0) continue;
        const slots = reader.poll(ringSlots);
        if (slots === 0) continue;
        found += slots;
        reader.copyTo(buffer, 0, slots);
        reader.advance(slots);
        for (let at = 0; at < slots; at++) {
          const base = at * 16;
          for (let i = 6; i < 16; i++) {
            const wanted = Math.imul(view[base + 1] * 1_000_003 + view[base + 2], 2654435761) ^ i;
            if (view[base + i] !== wanted) throw new Error(`ring ${group}: a torn record`);
          }
          seen[group].push(view[base] & 0xff, view[base + 1], view[base + 2], view[base + 4]);
        }
      }
      if (found > 0) idle = 0;
      else if (Atomics.load(go, 2) !== 0 && ++idle > 50) break;
      else Atomics.wait(go, 1, 0, 0.1);
    }
    return seen;
  },
};

if (go !== undefined) Atomics.wait(go, 0, 0);
parentPort.postMessage(roles[role]());
