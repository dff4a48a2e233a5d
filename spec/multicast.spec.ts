/**
 * Appending to several rings in one step: any two many-group records stand in the same order in every ring they share, and
 * every ring keeps room for those who must not wait for it.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { OP_MARKER } from '../dist/layout/operation.js';
import { MULTICAST_LOCK, MULTICAST_NUMBER, STREAMS_ALIVE } from '../dist/layout/streams.js';
import { Multicast } from '../dist/workers/multicast.js';
import { FULL, RingReader } from '../dist/workers/ring.js';
import { Streams } from '../dist/workers/streams.js';
import { type Random, SEED, seeded } from './support/random.ts';

/** Quicker than comparing a million elements one by one. */
function sameWords(a: Int32Array, b: Int32Array): boolean {
  return Buffer.compare(Buffer.from(new Int32Array(a).buffer), Buffer.from(new Int32Array(b).buffer)) === 0;
}

/** Slots of each ring that are kept for the store's own commands. */
const CONTROLS = 4;

interface Shape {
  readonly ringSlots: number;
  readonly start: number;
  readonly groups: number;
  readonly replicas?: number;
  readonly executors?: number;
}

function streamsOf({ ringSlots, start, groups, replicas = 1, executors = groups }: Shape): Streams {
  return Streams.create({
    groups,
    executors,
    replicas,
    clients: 8,
    ringSlots,
    replyBytes: 64,
    start: start | 0,
  });
}

/** Runs of that many slots for each group, filled with a mark; their last slot is a marker for all groups. */
function boxes(slots: readonly number[], mark: number) {
  return slots.map((n) => {
    const bytes = new Uint8Array(16 * 64).fill(mark);
    return { bytes, words: new Int32Array(bytes.buffer), slots: n, lastMarker: n - 1 };
  });
}

function single(mark: number): Uint8Array {
  return new Uint8Array(64).fill(mark);
}

/** One retry record, as bytes and as words. */
function retryRecord(mark: number): [Uint8Array, Int32Array] {
  const bytes = single(mark);
  return [bytes, new Int32Array(bytes.buffer)];
}

/** The mark of each slot that a reader finds; advances. */
function marks(reader: RingReader, capacity: number): number[] {
  const seen: number[] = [];
  for (let slots = reader.poll(capacity); slots > 0; slots = reader.poll(capacity)) {
    const bytes = new Uint8Array(slots * 64);
    reader.copyTo(bytes, 0, slots);
    reader.advance(slots);
    for (let slot = 0; slot < slots; slot++) seen.push(bytes[slot * 64]);
  }
  return seen;
}

describe('one thread', () => {
  it('appends to all rings or to none', () => {
    const streams = streamsOf({ ringSlots: 64, start: -3, groups: 3 });
    const multicast = new Multicast(streams, 1);
    const readers = [0, 1, 2].map((group) => new RingReader(streams, group, 0));
    expect(multicast.tryAppend(boxes([2, 1, 1], 1), [0, 0, 0, 0, 1, 0, 0, 2, 0], 1)).toBe(true);
    // Fill ring 1 as far as a one-group writer may.
    const { keepFromSingles } = multicast;
    while (multicast.rings[1].tryAppend(single(7), 1, keepFromSingles) !== FULL);
    // The multicast's own part is still free, in all rings.
    expect(multicast.tryAppend(boxes([16, 16, 16], 2), [], 0)).toBe(true);
    const before = streams.words.slice();
    expect(multicast.tryAppend(boxes([1, 1, 1], 3), [0, 0, 0, 0, 1, 0, 0, 2, 0], 1)).toBe(false);
    // Not even a number was used up.
    expect(sameWords(streams.words, before)).toBe(true);
    expect(multicast.tryAppend(boxes([1, 0, 1], 4), [], 0)).toBe(true);
    // A retry fits even now.
    const [bytes, words] = retryRecord(5);
    for (let i = 0; i < 3; i++) expect(multicast.tryRetry(bytes, words)).toBe(true);
    // And even then the store's own commands.
    const [control, controlWords] = retryRecord(6);
    for (let i = 0; i < CONTROLS; i++) expect(multicast.tryControl(control, controlWords)).toBeGreaterThan(0);
    expect(multicast.tryRetry(bytes, words)).toBe(false);
    expect(multicast.tryControl(control, controlWords)).toBe(0);
    const full = new Array(16).fill(2);
    const rest = (own: number) => [5, 5, 5, ...new Array(CONTROLS).fill(own)];
    const seen = readers.map((reader) => marks(reader, 64).filter((mark) => mark !== 7));
    // The record of a control command stands in group 0's ring, markers in the others.
    expect(seen).toEqual([
      [1, 1, ...full, 4, ...rest(6)],
      [1, ...full, ...rest(OP_MARKER)],
      [1, ...full, 4, ...rest(OP_MARKER)],
    ]);
  });

  it.each([
    ['-2^31', 2 ** 31 - 3, [2 ** 31 - 2, 2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 1, -(2 ** 31) + 2]],
    ['0, which is left out', -3, [-2, -1, 1, 2, 3]],
    ['0 exactly', -1, [1, 2, 3, 4, 5]],
  ])('numbers increase across %s', (_, last, wanted) => {
    const streams = streamsOf({ ringSlots: 64, start: 0, groups: 2 });
    const multicast = new Multicast(streams, 1);
    streams.words[MULTICAST_NUMBER >> 2] = last;
    const seen: number[] = [];
    for (let i = 0; i < 5; i++) {
      const parcel = boxes([1, 1], 1);
      expect(multicast.tryAppend(parcel, [0, 0, 0, 0, 1, 0], 1)).toBe(true);
      expect(parcel[0].words[4]).toBe(parcel[1].words[4]);
      seen.push(parcel[0].words[4]);
    }
    expect(seen).toEqual(wanted);
  });

  it('numbers of several commands in one parcel skip 0 as well, wherever it falls', () => {
    for (let last = -7; last <= 1; last++) {
      const streams = streamsOf({ ringSlots: 64, start: 0, groups: 2 });
      const multicast = new Multicast(streams, 1);
      streams.words[MULTICAST_NUMBER >> 2] = last;
      const parcel = boxes([4, 4], 1);
      const numbered = [0, 1, 2, 3].flatMap((command) => [command, 0, command * 64, command, 1, command * 64]);
      expect(multicast.tryAppend(parcel, numbered, 4)).toBe(true);
      const [bytes, words] = retryRecord(5);
      expect(multicast.tryRetry(bytes, words)).toBe(true);
      const wanted: number[] = [];
      for (let next = last + 1; wanted.length < 5; next++) if (next !== 0) wanted.push(next);
      for (const { words: written } of parcel) {
        expect([0, 1, 2, 3].map((command) => written[command * 16 + 4])).toEqual(wanted.slice(0, 4));
      }
      expect(words[4]).toBe(wanted[4]);
    }
  });

  it('does nothing while somebody else holds the lock', () => {
    const streams = streamsOf({ ringSlots: 64, start: 0, groups: 2 });
    const multicast = new Multicast(streams, 1);
    Atomics.store(streams.words, MULTICAST_LOCK >> 2, 99);
    const before = streams.words.slice();
    expect(multicast.tryAppend(boxes([1, 1], 1), [0, 0, 0, 0, 1, 0], 1)).toBe(false);
    expect(multicast.tryRetry(...retryRecord(5))).toBe(false);
    expect(sameWords(streams.words, before)).toBe(true);
    Atomics.store(streams.words, MULTICAST_LOCK >> 2, 0);
    expect(multicast.tryAppend(boxes([1, 1], 1), [], 0)).toBe(true);
    expect(multicast.tryRetry(...retryRecord(5))).toBe(true);
    expect(Atomics.load(streams.words, MULTICAST_LOCK >> 2)).toBe(0);
  });

  it('what one-group writers take between the look for room and the claim was never its own', () => {
    // The worst moment, made certain: a one-group writer fills every ring while the multicast takes its lock.
    const streams = streamsOf({ ringSlots: 64, start: -30, groups: 3, replicas: 2 });
    const multicast = new Multicast(streams, 1);
    const thief = new Multicast(streams, 2);
    const readers = [0, 1, 2].map((group) => new RingReader(streams, group, 0));
    Atomics.and(streams.words, STREAMS_ALIVE >> 2, ~2);
    const { compareExchange } = Atomics;
    for (let round = 0; round < 20; round++) {
      let stolen = 0;
      Atomics.compareExchange = ((view: Int32Array, at: number, from: number, to: number) => {
        // The claim in the first ring: the lock is held, the room has been looked at.
        if (at !== MULTICAST_LOCK >> 2 && stolen === 0) {
          Atomics.compareExchange = compareExchange;
          for (const ring of thief.rings) while (ring.tryAppend(single(9), 1, thief.keepFromSingles) !== FULL) stolen++;
        }
        return compareExchange(view, at, from, to);
      }) as typeof compareExchange;
      try {
        expect(multicast.tryAppend(boxes([16, 16, 16], 1), [], 0)).toBe(true);
      } finally {
        Atomics.compareExchange = compareExchange;
      }
      expect(stolen).toBeGreaterThan(90);
      for (let i = 0; i < multicast.keepFromMany; i++) expect(multicast.tryRetry(...retryRecord(5))).toBe(true);
      for (const reader of readers) {
        const seen = marks(reader, 64);
        expect(seen.length).toBe(64);
        expect(seen.filter((mark) => mark === 1).length).toBe(16);
      }
    }
  });
});

/** How many slots of a ring each kind of writer may fill. */
function exercise(random: Random, shape: Required<Shape>): void {
  const { ringSlots, groups, replicas, executors } = shape;
  const streams = streamsOf(shape);
  const multicast = new Multicast(streams, 1);
  const { maxRun } = multicast.rings[0];
  const readers = Array.from({ length: replicas }, (_, r) =>
    Array.from({ length: groups }, (_, g) => new RingReader(streams, g, r)),
  );
  const retries = executors * replicas + CONTROLS;
  expect(multicast.keepFromMany).toBe(retries);
  expect(multicast.keepFromSingles).toBe(retries + maxRun);
  const used = new Array<number>(groups).fill(0);
  const position = new Array<number>(groups).fill(shape.start);
  const lastMarker = new Array<number>(groups).fill(shape.start - 1);
  const counts = { refused: 0, retries: 0, retriesRefused: 0 };
  for (let step = 0; step < 2000; step++) {
    const kind = random.below(10);
    if (kind < 5) {
      const group = random.below(groups);
      const slots = 1 + random.below(maxRun);
      const fits = used[group] + slots <= ringSlots - retries - maxRun;
      const at = multicast.rings[group].tryAppend(new Uint8Array(slots * 64), slots, multicast.keepFromSingles);
      expect(at !== FULL).toBe(fits);
      if (!fits) continue;
      expect(at).toBe(position[group] >>> 0);
      used[group] += slots;
      position[group] = (position[group] + slots) | 0;
    } else if (kind < 8) {
      const slots = Array.from({ length: groups }, () => random.below(random.pick([2, maxRun + 1])));
      const fits = slots.every((n, g) => n === 0 || used[g] + n <= ringSlots - retries);
      expect(multicast.tryAppend(boxes(slots, 1), [], 1)).toBe(fits);
      if (!fits) {
        counts.refused++;
        continue;
      }
      for (let g = 0; g < groups; g++) {
        if (slots[g] === 0) continue;
        used[g] += slots[g];
        position[g] = (position[g] + slots[g]) | 0;
        lastMarker[g] = (position[g] - 1) | 0;
      }
    } else if (kind < 9) {
      const fits = used.every((n) => n < ringSlots);
      expect(multicast.tryRetry(...retryRecord(5))).toBe(fits);
      if (!fits) {
        counts.retriesRefused++;
        continue;
      }
      counts.retries++;
      for (let g = 0; g < groups; g++) {
        used[g]++;
        lastMarker[g] = position[g];
        position[g] = (position[g] + 1) | 0;
      }
    } else if (random.chance(0.3)) {
      const group = random.below(groups);
      // All replicas read to the end: their differences are the ring's own test.
      for (const reader of readers) marks(reader[group], ringSlots);
      used[group] = 0;
    }
    for (let g = 0; g < groups; g++) expect(multicast.rings[g].lastMarker()).toBe(lastMarker[g] | 0);
  }
  expect(counts.refused).toBeGreaterThan(20);
  expect(counts.retriesRefused).toBeGreaterThan(5);
  expect(counts.retries).toBeGreaterThan(20);
}

describe('rules of room, against a model', () => {
  it.each<Required<Shape>>([
    { ringSlots: 64, start: -50, groups: 2, replicas: 1, executors: 2 },
    { ringSlots: 64, start: 2 ** 31 - 50, groups: 3, replicas: 2, executors: 3 },
    { ringSlots: 32, start: 7, groups: 5, replicas: 2, executors: 2 },
  ])('%j', async (shape) => {
    await seeded(`room ${JSON.stringify(shape)}`, (random) => exercise(random, shape))();
  });
});

describe('many threads', () => {
  interface Sent {
    singles: number;
    many: number;
    gaveUp: number;
  }

  it.each([
    { ringSlots: 32, start: 2 ** 32 - 900, groups: 2, number: -800 },
    { ringSlots: 32, start: 2 ** 31 - 900, groups: 4, number: 2 ** 31 - 800 },
  ])('3 writers, a retrier and 2 readers of all rings: %j', async ({ number: firstNumber, ...shape }) => {
    const streams = streamsOf({ ...shape, replicas: 2, executors: 2 });
    streams.words[MULTICAST_NUMBER >> 2] = firstNumber;
    const go = new Int32Array(new SharedArrayBuffer(12));
    const start = (role: string, number: number, records = 0) =>
      new Worker(new URL('./support/stream-thread.mjs', import.meta.url), {
        workerData: { memory: streams.memory, role, number, records, seed: SEED, go },
      });
    const result = async <T>(worker: Worker): Promise<T> => (await once(worker, 'message'))[0];
    const collectors = [start('collector', 0), start('collector', 1)];
    const mixers = [0, 1, 2].map((number) => start('mixer', number, 1500));
    const retrier = start('retrier', 9, 1e9);
    const everybody = [...collectors, ...mixers, retrier];
    const collected = collectors.map((worker) => result<number[][]>(worker));
    const sent = mixers.map((worker) => result<Sent>(worker));
    const retried = result<number>(retrier);
    await new Promise((resolve) => setTimeout(resolve, 150));
    Atomics.store(go, 0, 1);
    Atomics.notify(go, 0);
    const totals = await Promise.all(sent);
    Atomics.store(go, 2, 1);
    const retries = await retried;
    const [rings, mirror] = await Promise.all(collected);
    await Promise.all(everybody.map((worker) => worker.terminate()));

    // Both replicas read the very same streams.
    expect(mirror).toEqual(rings);
    const orders: string[][] = [];
    const places = new Map<string, number>();
    let singles = 0;
    for (const ring of rings) {
      let last: number | undefined;
      const order: string[] = [];
      const serials = new Map<number, number>();
      for (let at = 0; at < ring.length; at += 4) {
        const [kind, writer, serial, number] = ring.slice(at, at + 4);
        // Per writer, in the order written.
        expect(serial).toBeGreaterThan(serials.get(writer) ?? -1);
        serials.set(writer, serial);
        if (kind === 1) {
          singles++;
          continue;
        }
        // Strictly increasing, modulo 2^32, and never 0.
        if (last !== undefined) expect((number - last) | 0).toBeGreaterThan(0);
        expect(number).not.toBe(0);
        last = number;
        order.push(`${writer}/${serial}`);
        const known = places.get(`${writer}/${serial}`);
        if (known !== undefined) expect(number).toBe(known);
        places.set(`${writer}/${serial}`, number);
      }
      orders.push(order);
    }
    // Any two meet in the same order in every ring they share.
    for (const one of orders) {
      for (const other of orders) {
        const shared = new Set(other);
        const theirs = new Set(one);
        expect(one.filter((each) => shared.has(each))).toEqual(other.filter((each) => theirs.has(each)));
      }
    }
    // Nothing was lost, nothing came twice, every retry stands in every ring.
    expect(singles).toBe(totals.reduce((sum, one) => sum + one.singles, 0));
    const many = [...places.keys()].filter((each) => !each.startsWith('9/'));
    expect(many.length).toBeLessThanOrEqual(totals.reduce((sum, one) => sum + one.many, 0));
    expect(many.length).toBeGreaterThan(500);
    expect(new Set(places.values()).size).toBe(places.size);
    for (const order of orders) expect(order.filter((each) => each.startsWith('9/')).length).toBe(retries);
    expect(retries).toBeGreaterThan(10);
    // Rings were full, and locks taken, at times.
    expect(totals.reduce((sum, one) => sum + one.gaveUp, 0)).toBeGreaterThan(0);
  });
});
