/** A group ring: exactly full, across the wrap of its positions, and with four producers and three readers at once. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { CLAIM_MADE, RING_ROOM_WAITERS, STREAMS_ALIVE } from '../dist/layout/streams.js';
import { wakeEverybody } from '../dist/workers/failure.js';
import { announcementOf, FULL, GroupRing, RingReader } from '../dist/workers/ring.js';
import { groupOf, Streams } from '../dist/workers/streams.js';
import { type Random, seeded } from './support/random.ts';

function streamsOf(ringSlots: number, start: number, replicas = 1, groups = 1): Streams {
  return Streams.create({
    groups,
    executors: groups,
    replicas,
    clients: 1,
    ringSlots,
    replyBytes: 4096,
    start: start | 0,
  });
}

/** A replica is lost: its readers gate nobody any more, and all who wait look again. */
function loseReplica(streams: Streams, replica: number): void {
  Atomics.and(streams.words, STREAMS_ALIVE >> 2, ~(1 << replica));
  wakeEverybody(streams);
}

/** A run of `slots` slots whose bytes all are `mark`. */
function run(slots: number, mark: number): Uint8Array {
  return new Uint8Array(slots * 64).fill(mark);
}

/** Reads everything there is; the marks of the slots. */
function drain(reader: RingReader, capacity: number): number[] {
  const marks: number[] = [];
  for (let slots = reader.poll(capacity); slots > 0; slots = reader.poll(capacity)) {
    const bytes = new Uint8Array(slots * 64);
    reader.copyTo(bytes, 0, slots);
    reader.advance(slots);
    for (let slot = 0; slot < slots; slot++) {
      const mark = bytes[slot * 64];
      // All but the run length, which the ring stamps into the first record.
      for (let i = 0; i < 64; i++) if (i < 12 || i > 15) expect(bytes[slot * 64 + i]).toBe(mark);
      marks.push(mark);
    }
  }
  return marks;
}

describe.each([0, 2 ** 31 - 21, 2 ** 32 - 21])('a ring that begins at position %d', (start) => {
  it('takes exactly its capacity, keeps it whole, and takes as much again', () => {
    const streams = streamsOf(16, start);
    const ring = new GroupRing(streams, 0);
    const reader = new RingReader(streams, 0, 0);
    for (let lap = 0; lap < 12; lap++) {
      expect(reader.poll(16)).toBe(0);
      for (let i = 0; i < 4; i++)
        expect(ring.tryAppend(run(4, i + 1), 4, 0)).toBe((start + lap * 16 + i * 4) % 2 ** 32);
      // Exactly full: nothing fits, and what was refused left no trace.
      expect(ring.hasRoom(1, 0)).toBe(false);
      expect(ring.tryAppend(run(1, 9), 1, 0)).toBe(FULL);
      expect(reader.poll(16)).toBe(16);
      expect(drain(reader, 16)).toEqual([1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4]);
    }
  });

  it('breaks a run at its end and gives it back whole', () => {
    const streams = streamsOf(16, start);
    const ring = new GroupRing(streams, 0);
    const reader = new RingReader(streams, 0, 0);
    for (let i = 0; i < 100; i++) {
      const slots = 1 + (i % 4);
      expect(ring.tryAppend(run(slots, (i % 200) + 1), slots, 0)).not.toBe(FULL);
      expect(drain(reader, 16)).toEqual(new Array(slots).fill((i % 200) + 1));
    }
  });

  it('is gated by the slowest living reader, and let go when that one is lost', () => {
    const streams = streamsOf(16, start, 2);
    const ring = new GroupRing(streams, 0);
    const [fast, slow] = [new RingReader(streams, 0, 0), new RingReader(streams, 0, 1)];
    for (let i = 0; i < 4; i++) ring.tryAppend(run(4, i + 1), 4, 0);
    expect(drain(fast, 16).length).toBe(16);
    expect(ring.tryAppend(run(1, 9), 1, 0)).toBe(FULL);
    slow.advance(4);
    expect(ring.tryAppend(run(4, 5), 4, 0)).not.toBe(FULL);
    expect(ring.tryAppend(run(1, 9), 1, 0)).toBe(FULL);
    Atomics.and(streams.words, STREAMS_ALIVE >> 2, ~2);
    expect(ring.tryAppend(run(4, 6), 4, 0)).not.toBe(FULL);
    expect(drain(fast, 16)).toEqual([5, 5, 5, 5, 6, 6, 6, 6]);
  });

  it('keeps slots free for whom they are kept', () => {
    const streams = streamsOf(16, start);
    const ring = new GroupRing(streams, 0);
    for (let i = 0; i < 3; i++) expect(ring.tryAppend(run(4, 1), 4, 4)).not.toBe(FULL);
    expect(ring.tryAppend(run(1, 2), 1, 4)).toBe(FULL);
    expect(ring.tryAppend(run(4, 3), 4, 0)).not.toBe(FULL);
  });

  it('refuses a run longer than a quarter, and shows nothing that was only claimed', () => {
    const streams = streamsOf(16, start);
    const ring = new GroupRing(streams, 0);
    const reader = new RingReader(streams, 0, 0);
    expect(() => ring.tryAppend(run(5, 1), 5, 0)).toThrow(expect.objectContaining({ code: 'ERR_TOO_LARGE', value: 5 }));
    const first = ring.tryClaim(2, 0, 0);
    const second = ring.tryClaim(2, 0, 0);
    ring.write(second, run(2, 2), 2);
    ring.publish(second, 2);
    // The later run is published, the earlier is not: the reader waits for it.
    expect(reader.poll(16)).toBe(0);
    ring.write(first, run(2, 1), 2);
    ring.publish(first, 2);
    expect(drain(reader, 16)).toEqual([1, 1, 2, 2]);
  });
});

/** What a ring promises, in as few words as possible: everything ever appended, and where everybody stands. */
class Model {
  /** One mark per slot, from the ring's beginning on. */
  readonly marks: number[] = [];
  /** Length of the run that begins at a slot; 0 within a run. */
  readonly runs: number[] = [];
  readonly cursors: number[];
  readonly alive: boolean[];
  readonly capacity: number;

  constructor(capacity: number, replicas: number) {
    this.capacity = capacity;
    this.cursors = new Array(replicas).fill(0);
    this.alive = new Array(replicas).fill(true);
  }

  get head(): number {
    return this.marks.length;
  }

  /** Where the slowest living reader stands. */
  get slowest(): number {
    return Math.min(...this.cursors.filter((_, replica) => this.alive[replica]));
  }

  hasRoom(slots: number, keep: number): boolean {
    return this.head - this.slowest + slots <= this.capacity - keep;
  }

  append(slots: number, mark: number): void {
    for (let i = 0; i < slots; i++) {
      this.marks.push(mark);
      this.runs.push(i === 0 ? slots : 0);
    }
  }

  /** Slots of whole runs from a reader's cursor on, at most `most`. */
  poll(replica: number, most: number): number {
    const from = this.cursors[replica];
    let found = 0;
    while (from + found < this.head && found + this.runs[from + found] <= most) found += this.runs[from + found];
    return found;
  }
}

/** The lap that stands in the publication word of a position. */
function lapAt(position: number, ringSlots: number): number {
  return (Math.floor((position >>> 0) / ringSlots) + 1) | 0;
}

/** Random appends, reads and losses on one thread, each compared with the model. */
function exercise(random: Random, ringSlots: number, start: number, replicas: number): void {
  const streams = Streams.create({
    groups: 1,
    executors: 1,
    replicas,
    clients: 1,
    ringSlots,
    replyBytes: 64,
    start: start | 0,
  });
  const { words } = streams;
  const ring = new GroupRing(streams, 0);
  // A second writer, whose idea of the readers' positions grows old.
  const other = new GroupRing(streams, 0);
  const readers = Array.from({ length: replicas }, (_, replica) => new RingReader(streams, 0, replica));
  const model = new Model(ringSlots, replicas);
  const announcement = announcementOf(streams, 0);
  let full = 0;
  let exactly = 0;
  for (let step = 0; step < 1500; step++) {
    // Often just what fills the ring.
    const left = ringSlots - (model.head - model.slowest);
    const slots = random.chance(0.3) && left > 0 ? Math.min(left, ring.maxRun) : 1 + random.below(ring.maxRun);
    const keep = random.pick([0, 0, 1, ringSlots >> 1, ringSlots - 1]);
    const replica = random.below(replicas);
    if (random.chance(0.55)) {
      const writer = random.pick([ring, other]);
      const fits = model.hasRoom(slots, keep);
      const before = words.slice();
      expect(writer.hasRoom(slots, keep)).toBe(fits);
      const mark = 1 + random.below(255);
      const announced = random.chance(0.5) ? announcement : 0;
      const position = writer.tryAppend(run(slots, mark), slots, keep, announced);
      if (!fits) {
        full++;
        expect(position).toBe(FULL);
        // Nothing at all was written.
        expect(words.every((word, i) => word === before[i])).toBe(true);
        continue;
      }
      expect(position).toBe((start + model.head) % 2 ** 32);
      expect(words[announcement]).toBe(0);
      for (let i = 0; i < slots; i++) {
        const at = streams.publications(0) + ((position + i) % ringSlots);
        expect(words[at]).toBe(lapAt(position + i, ringSlots));
      }
      model.append(slots, mark);
      if (model.head - model.slowest === ringSlots) exactly++;
    } else if (model.alive[replica]) {
      const most = ring.maxRun + random.below(ringSlots - ring.maxRun + 1);
      const reader = readers[replica];
      const found = reader.poll(most);
      expect(found).toBe(model.poll(replica, most));
      if (found === 0) continue;
      const bytes = new Uint8Array(found * 64 + 8);
      reader.copyTo(bytes, 8, found);
      const from = model.cursors[replica];
      for (let i = 0; i < found; i++) {
        for (const at of [0, 11, 16, 63]) expect(bytes[8 + i * 64 + at]).toBe(model.marks[from + i]);
        if (model.runs[from + i] > 0) expect(bytes[8 + i * 64 + 12]).toBe(model.runs[from + i]);
      }
      // All of it, or the first run only.
      const taken = random.chance(0.7) ? found : model.runs[from];
      reader.advance(taken);
      model.cursors[replica] += taken;
      expect(reader.position).toBe((start + model.cursors[replica]) % 2 ** 32);
    }
    if (random.chance(0.001) && model.alive.filter(Boolean).length > 1 && model.alive[replica]) {
      model.alive[replica] = false;
      loseReplica(streams, replica);
    }
  }
  // Otherwise this test tested little.
  expect(full).toBeGreaterThan(50);
  expect(exactly).toBeGreaterThan(5);
  expect(model.head).toBeGreaterThan(5 * ringSlots);
}

describe('against a model', () => {
  it.each([
    [4, -5, 1],
    [8, -5, 2],
    [16, 2 ** 31 - 5, 3],
    [16, -100, 5],
    [64, 2 ** 31 - 100, 2],
  ])('a ring of %d slots from position %d on, %d readers', async (ringSlots, start, replicas) => {
    const body = (random: Random) => exercise(random, ringSlots, start < 0 ? start + 2 ** 32 : start, replicas);
    await seeded(`ring ${ringSlots} ${start}`, body)();
  });
});

describe('announcing a claim', () => {
  it('names ring, position and slots until the run is published, and says that it came about', () => {
    const streams = streamsOf(16, -2, 1, 3);
    const ring = new GroupRing(streams, 2);
    const announcement = announcementOf(streams, 0);
    const position = ring.tryClaim(3, 0, announcement);
    expect([...streams.words.subarray(announcement, announcement + 3)]).toEqual([3 | CLAIM_MADE, -2, 3]);
    expect(position).toBe(2 ** 32 - 2);
  });

  it('is taken back when another writer was faster and left no room', () => {
    const streams = streamsOf(16, 0);
    const [ring, faster] = [new GroupRing(streams, 0), new GroupRing(streams, 0)];
    const announcement = announcementOf(streams, 0);
    for (let i = 0; i < 3; i++) ring.tryAppend(run(4, 1), 4, 0);
    const { compareExchange } = Atomics;
    let announcedBefore = 0;
    Atomics.compareExchange = ((...args: Parameters<typeof compareExchange>) => {
      Atomics.compareExchange = compareExchange;
      announcedBefore = streams.words[announcement];
      faster.tryAppend(run(4, 2), 4, 0);
      return compareExchange(...args);
    }) as typeof compareExchange;
    try {
      expect(ring.tryAppend(run(4, 3), 4, 0, announcement)).toBe(FULL);
    } finally {
      Atomics.compareExchange = compareExchange;
    }
    expect(announcedBefore).toBe(1);
    expect(streams.words[announcement]).toBe(0);
    expect(drain(new RingReader(streams, 0, 0), 16)).toEqual([...new Array(12).fill(1), 2, 2, 2, 2]);
  });
});

describe('many threads', () => {
  it.each([
    ['a tiny ring before the wrap', 32, 2 ** 32 - 5000],
    ['a larger ring', 256, 2 ** 31 - 3000],
  ])(
    '4 producers and 3 readers, %s: every reader gets every record once, in one order',
    async (_, ringSlots, start) => {
      const streams = streamsOf(ringSlots, start, 3);
      const records = 5000;
      const start1 = (role: string, number: number) =>
        new Worker(new URL('./support/ring-thread.mjs', import.meta.url), {
          workerData: { memory: streams.memory, role, number, records, producers: 4 },
        });
      const readers = [0, 1, 2].map((number) => start1('reader', number));
      const producers = [0, 1, 2, 3].map((number) => start1('producer', number));
      const orders = await Promise.all(readers.map(async (reader) => (await once(reader, 'message'))[0]));
      await Promise.all([...readers, ...producers].map((worker) => worker.terminate()));
      expect(typeof orders[0]).toBe('number');
      expect(new Set(orders).size).toBe(1);
    },
  );

  it('a reader and a writer that sleep at every chance never miss each other: 4 slots, 30,000 records', async () => {
    const streams = streamsOf(4, -9999);
    const start = (role: string) =>
      new Worker(new URL('./support/stream-thread.mjs', import.meta.url), {
        workerData: { memory: streams.memory, role, records: 30_000 },
      });
    const workers = [start('sleepy-reader'), start('sleepy-writer')];
    const sleeps = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0]));
    await Promise.all(workers.map((worker) => worker.terminate()));
    // Both slept, and were woken each time: a sleep has no end of its own.
    for (const count of sleeps) expect(count).toBeGreaterThan(100);
  });

  it('a writer that sleeps for room is woken when the reader that kept it waiting is lost', async () => {
    const streams = streamsOf(32, -70, 2);
    const reader = new RingReader(streams, 0, 0);
    const worker = new Worker(new URL('./support/ring-thread.mjs', import.meta.url), {
      workerData: { memory: streams.memory, role: 'producer', number: 0, records: 60, producers: 1 },
    });
    let ended = false;
    const done = once(worker, 'message').finally(() => {
      ended = true;
    });
    const waiting = (streams.ring(0) + RING_ROOM_WAITERS) >> 2;
    let read = 0;
    const readAll = () => {
      for (let slots = reader.poll(32); slots > 0; slots = reader.poll(32)) {
        reader.advance(slots);
        read += slots;
      }
    };
    // Replica 1 never reads: the writer comes to a stop after one ring.
    while (!ended && (read < 28 || Atomics.load(streams.words, waiting) === 0)) {
      readAll();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(read).toBeLessThanOrEqual(32);
    loseReplica(streams, 1);
    while (!ended) {
      readAll();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await done;
    readAll();
    // Records of 1 to 5 slots; see ring-thread.mjs.
    expect(read).toBe(Array.from({ length: 60 }, (_, i) => 1 + ((i * 3) % 5)).reduce((a, b) => a + b));
    await worker.terminate();
  });
});

describe('groups', () => {
  it.each([2, 3, 7, 32])('%d groups get about equally many of neighbouring keys', (groups) => {
    const counts = new Array(groups).fill(0);
    for (let key = 0; key < 32_000; key++) counts[groupOf(key, 0, groups)]++;
    for (const count of counts) expect(Math.abs(count / (32_000 / groups) - 1)).toBeLessThan(0.25);
    for (let high = 0; high < 1000; high++) expect(groupOf(0, high, groups)).toBeLessThan(groups);
  });

  it('keeps neighbours together, and spreads their blocks', () => {
    for (const bits of [1, 4, 9, 16]) {
      const counts = new Array<number>(3).fill(0);
      for (let block = 0; block < 3000; block++) {
        const first = Math.imul(block, 0x10001) << bits;
        const group = groupOf(first, block, 3, bits);
        counts[group]++;
        for (const low of [1, (1 << bits) >> 1, (1 << bits) - 1])
          expect(groupOf(first | low, block, 3, bits)).toBe(group);
      }
      for (const count of counts) expect(count).toBeGreaterThan(800);
      // The high word counts whole, and joins on to the low one.
      expect(groupOf(5 << bits, 0, 1000, bits)).toBe(groupOf(5, 0, 1000));
      expect(groupOf(0, 7 << bits, 1000, bits)).toBe(groupOf(0, 7, 1000));
    }
  });
});
