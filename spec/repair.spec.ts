/**
 * Mending what a thread left behind that died while it appended: at every step of every kind of append, in memory alone,
 * and in stores whose executors have to go on.
 */
import { describe, expect, it } from 'vitest';
import { connect, type ModelName } from '../dist/index.js';
import {
  NOBODY,
  OP_FENCE,
  OP_MARKER,
  OP_PUT,
  OP_RETRY,
  OP_SKIP,
  OPERATION_CLIENT,
  OPERATION_CODE,
  OPERATION_GROUPS,
  OPERATION_KEY,
  OPERATION_NUMBER,
  OPERATION_SEQUENCE,
  SLOT,
} from '../dist/layout/operation.js';
import {
  CLAIM_MADE,
  CLIENT_LEAVING,
  CLIENT_STATE,
  CLIENT_THREAD,
  CLIENT_USED,
  MULTICAST_CLAIM_SIZE,
  MULTICAST_CLAIMS,
  MULTICAST_LOCK,
  RING_CLAIM,
} from '../dist/layout/streams.js';
import { HOLDER_BASE } from '../dist/workers/executor.js';
import { Multicast } from '../dist/workers/multicast.js';
import { mendClaim, mendLock } from '../dist/workers/repair.js';
import { announcementOf, FULL, GroupRing, RingReader } from '../dist/workers/ring.js';
import { Streams } from '../dist/workers/streams.js';
import { dieAt } from './support/death.ts';
import { Random, seeded } from './support/random.ts';
import { type AnyStore, agreeOnReplicas, inTime, until, withStore } from './support/stores.ts';

/** Quicker than comparing a million elements one by one. */
function sameWords(a: Int32Array, b: Int32Array): boolean {
  return Buffer.compare(Buffer.from(new Int32Array(a).buffer), Buffer.from(new Int32Array(b).buffer)) === 0;
}

const RING_SLOTS = 64;
const MAX_RUN = RING_SLOTS >> 2;
/** The lock's holder of client 0, who dies, and of another thread. */
const DEAD = 0;
const DEAD_HOLDER = DEAD + 1;
const ALIVE = 1;

function streamsOf(groups: number, start = 0): Streams {
  const shape = { groups, executors: groups, replicas: 1, clients: 4, ringSlots: RING_SLOTS, replyBytes: 64 };
  const streams = Streams.create({ ...shape, start: start | 0 });
  for (const client of [DEAD, ALIVE]) streams.words[(streams.client(client) + CLIENT_STATE) >> 2] = CLIENT_USED;
  return streams;
}

/** Marks records by a serial number, in their first slot's sequence and all over their other slots. */
function record(words: Int32Array, slot: number, slots: number, op: number, client: number, serial: number): void {
  const at = (slot * SLOT) >> 2;
  words.fill(serial, at, at + ((slots * SLOT) >> 2));
  words[at + (OPERATION_CODE >> 2)] = op | (slots << 16);
  words[at + (OPERATION_CLIENT >> 2)] = client;
  words[at + (OPERATION_SEQUENCE >> 2)] = serial;
  words[at + (OPERATION_NUMBER >> 2)] = 0;
  words[at + (OPERATION_GROUPS >> 2)] = 0;
}

interface Found {
  readonly op: number;
  readonly slots: number;
  readonly client: number;
  readonly serial: number;
  readonly number: number;
  readonly groups: number;
  readonly key: number;
}

/** Reads a ring as far as it is published. */
function read(reader: RingReader): Found[] {
  const found: Found[] = [];
  for (let slots = reader.poll(RING_SLOTS); slots > 0; slots = reader.poll(RING_SLOTS)) {
    const bytes = new Uint8Array(slots * SLOT);
    const words = new Int32Array(bytes.buffer);
    reader.copyTo(bytes, 0, slots);
    reader.advance(slots);
    for (let at = 0; at < slots; ) {
      const word = (at * SLOT) >> 2;
      const size = words[word] >>> 16;
      if (size === 0 || at + size > slots) throw new Error(`a record of ${size} slots at ${at} of ${slots}`);
      const op = words[word] & 0xff;
      const serial = words[word + (OPERATION_SEQUENCE >> 2)];
      if (op === OP_PUT) {
        for (let i = (SLOT >> 2) + 1; i < (size * SLOT) >> 2; i++)
          if (words[word + i] !== serial) throw new Error(`record ${serial} is torn`);
      }
      const field = (offset: number) => words[word + (offset >> 2)];
      found.push({
        ...{ op, slots: size, client: field(OPERATION_CLIENT), serial, number: field(OPERATION_NUMBER) },
        ...{ groups: field(OPERATION_GROUPS), key: field(OPERATION_KEY) },
      });
      at += size;
    }
  }
  return found;
}

function readers(streams: Streams): RingReader[] {
  return Array.from({ length: streams.shape.groups }, (_, group) => new RingReader(streams, group, 0));
}

/** Nothing that was claimed is left unpublished. */
function expectNoGap(streams: Streams, all: readonly RingReader[]): void {
  for (const [group, reader] of all.entries()) {
    const claimed = Atomics.load(streams.words, (streams.ring(group) + RING_CLAIM) >> 2) >>> 0;
    expect(reader.position, `ring ${group} is readable up to what was claimed`).toBe(claimed);
  }
}

/** Nobody holds the lock, and nothing is announced under it. */
function expectUnlocked(streams: Streams): void {
  expect(Atomics.load(streams.words, MULTICAST_LOCK >> 2)).toBe(0);
  const words = (streams.shape.groups * MULTICAST_CLAIM_SIZE) >> 2;
  const claims = streams.words.subarray(MULTICAST_CLAIMS >> 2, (MULTICAST_CLAIMS >> 2) + words);
  for (let group = 0; group < streams.shape.groups; group++) {
    expect(claims[(group * MULTICAST_CLAIM_SIZE) >> 2]).toBe(0);
  }
}

/** Appends one-slot records to a group's ring as client `client` would; their serials. */
function singles(streams: Streams, group: number, count: number, serial: number, client = ALIVE): number[] {
  const ring = new GroupRing(streams, group);
  const words = new Int32Array(SLOT >> 2);
  return Array.from({ length: count }, (_, i) => {
    record(words, 0, 1, OP_PUT, client, serial + i);
    expect(ring.tryAppend(new Uint8Array(words.buffer), 1, 0, announcementOf(streams, client))).not.toBe(FULL);
    return serial + i;
  });
}

const puts = (found: readonly Found[], client: number) =>
  found.filter((one) => one.op === OP_PUT && one.client === client).map(({ serial }) => serial);

describe.each([0, 2 ** 31 - 20, 2 ** 32 - 20])('a claim in one ring, from position %d on', (start) => {
  const announce = (streams: Streams, client: number, position: number, slots: number, made = 0) => {
    const word = announcementOf(streams, client);
    streams.words[word + 1] = position;
    streams.words[word + 2] = slots;
    Atomics.store(streams.words, word, 1 | made);
  };

  it('nothing announced: nothing to do', () => {
    const streams = streamsOf(1, start);
    const before = streams.words.slice();
    expect(mendClaim(streams, DEAD)).toBe(true);
    expect(sameWords(streams.words, before)).toBe(true);
  });

  it('announced and not claimed: the place goes to the next one', () => {
    const streams = streamsOf(1, start);
    announce(streams, DEAD, start, 3);
    const before = streams.words.slice();
    expect(mendClaim(streams, DEAD)).toBe(true);
    before[announcementOf(streams, DEAD)] = 0;
    expect(sameWords(streams.words, before)).toBe(true);
    const serials = singles(streams, 0, 5, 1);
    expect(puts(read(new RingReader(streams, 0, 0)), ALIVE)).toEqual(serials);
  });

  it.each([1, 2, 7, MAX_RUN])('claimed and not published, %d slots, wherever in the ring: it does nothing', (slots) => {
    for (let first = 0; first < RING_SLOTS; first += 3) {
      const streams = streamsOf(1, start);
      const ring = new GroupRing(streams, 0);
      const reader = new RingReader(streams, 0, 0);
      singles(streams, 0, first, 1);
      read(reader);
      const word = announcementOf(streams, DEAD);
      const position = ring.tryClaim(slots, 0, word);
      // Half written, with what would be bad to read.
      if (first % 2 === 1) ring.write(position, new Uint8Array(slots * SLOT).fill(0xff), slots);
      const later = singles(streams, 0, 2, 1000);
      expect(reader.poll(RING_SLOTS)).toBe(0);
      expect(mendClaim(streams, DEAD)).toBe(true);
      expect(streams.words[word]).toBe(0);
      const found = read(reader);
      expectNoGap(streams, [reader]);
      expect(found[0]).toMatchObject({ op: OP_SKIP, slots });
      expect(puts(found, ALIVE)).toEqual(later);
      expect(found.length).toBe(3);
      // A second time there is nothing left.
      const before = streams.words.slice();
      expect(mendClaim(streams, DEAD)).toBe(true);
      expect(sameWords(streams.words, before)).toBe(true);
    }
  });

  it('dead at each step of an append: its run is whole, or does nothing, and nobody else is touched', () => {
    let steps = 0;
    for (let died = true; died; steps++) {
      const streams = streamsOf(1, start);
      const ring = new GroupRing(streams, 0);
      const reader = new RingReader(streams, 0, 0);
      const words = new Int32Array((3 * SLOT) >> 2);
      record(words, 0, 3, OP_PUT, DEAD, 77);
      const word = announcementOf(streams, DEAD);
      died = dieAt(steps, () => ring.tryAppend(new Uint8Array(words.buffer), 3, 0, word));
      const later = singles(streams, 0, 4, 1);
      expect(mendClaim(streams, DEAD)).toBe(true);
      expect(streams.words[word]).toBe(0);
      const found = read(reader);
      expectNoGap(streams, [reader]);
      expect(puts(found, ALIVE)).toEqual(later);
      expect([[], [77]]).toContainEqual(puts(found, DEAD));
      if (!died) expect(puts(found, DEAD)).toEqual([77]);
    }
    expect(steps).toBeGreaterThan(5);
  });

  it.each([1, 2, 5])(
    'published and still announced, and the ring has gone round %d times since: nothing to do',
    (laps) => {
      for (const extra of [0, 1, MAX_RUN, RING_SLOTS - 3, RING_SLOTS - 1]) {
        const streams = streamsOf(1, start);
        const ring = new GroupRing(streams, 0);
        const reader = new RingReader(streams, 0, 0);
        const words = new Int32Array((3 * SLOT) >> 2);
        record(words, 0, 3, OP_PUT, DEAD, 77);
        const position = ring.tryAppend(new Uint8Array(words.buffer), 3, 0);
        for (let lap = 0; lap < laps; lap++) {
          read(reader);
          singles(streams, 0, RING_SLOTS, 1);
        }
        read(reader);
        singles(streams, 0, extra, 1);
        read(reader);
        const later = singles(streams, 0, RING_SLOTS, 5000);
        // Its own, or one that somebody else was quicker with.
        announce(streams, DEAD, position, 3, extra % 2 === 0 ? CLAIM_MADE : 0);
        expect(mendClaim(streams, DEAD)).toBe(true);
        // What stands there now is the others'.
        expect(puts(read(reader), ALIVE)).toEqual(later);
        expectNoGap(streams, [reader]);
      }
    },
  );

  it('announced by two, one of them dead: it waits until the living one has told whose place it is', () => {
    // The living one has it.
    let streams = streamsOf(1, start);
    let reader = new RingReader(streams, 0, 0);
    const ring = new GroupRing(streams, 0);
    announce(streams, DEAD, start, 5);
    const words = new Int32Array((2 * SLOT) >> 2);
    record(words, 0, 2, OP_PUT, ALIVE, 9);
    const position = ring.tryClaim(2, 0, announcementOf(streams, ALIVE));
    const before = streams.words.slice();
    expect(mendClaim(streams, DEAD)).toBe(false);
    expect(sameWords(streams.words, before)).toBe(true);
    ring.write(position, new Uint8Array(words.buffer), 2);
    ring.publish(position, 2);
    expect(mendClaim(streams, DEAD)).toBe(true);
    expect(read(reader)).toMatchObject([{ op: OP_PUT, client: ALIVE, serial: 9 }]);
    expectNoGap(streams, [reader]);

    // The dead one has it, and has not come to saying so.
    streams = streamsOf(1, start);
    reader = new RingReader(streams, 0, 0);
    new GroupRing(streams, 0).tryClaim(5, 0, 0);
    announce(streams, DEAD, start, 5);
    announce(streams, ALIVE, start, 2);
    expect(mendClaim(streams, DEAD)).toBe(false);
    // The other one has found its place taken, and announces the next one.
    announce(streams, ALIVE, start + 5, 2);
    expect(mendClaim(streams, DEAD)).toBe(true);
    expect(read(reader)).toMatchObject([{ op: OP_SKIP, slots: 5 }]);
    expectNoGap(streams, [reader]);

    // The dead one has said that it has it.
    streams = streamsOf(1, start);
    reader = new RingReader(streams, 0, 0);
    new GroupRing(streams, 0).tryClaim(5, 0, announcementOf(streams, DEAD));
    announce(streams, ALIVE, start, 2);
    expect(mendClaim(streams, DEAD)).toBe(true);
    expect(read(reader)).toMatchObject([{ op: OP_SKIP, slots: 5 }]);
    expectNoGap(streams, [reader]);
  });

  it('announced by two dead ones, whichever of them has it, in whatever order they are mended', () => {
    for (const owner of [DEAD, ALIVE]) {
      for (const order of [
        [DEAD, ALIVE],
        [ALIVE, DEAD],
      ]) {
        for (const sizes of [
          [1, 4],
          [4, 1],
          [3, 3],
        ]) {
          for (const [behind, made] of [0, 1, 6].flatMap((n) => [
            [n, 0],
            [n, CLAIM_MADE],
          ])) {
            const streams = streamsOf(1, start);
            const reader = new RingReader(streams, 0, 0);
            new GroupRing(streams, 0).tryClaim(sizes[owner], 0, 0);
            announce(streams, owner, start, sizes[owner], made);
            const other = 1 - owner;
            announce(streams, other, start, sizes[other]);
            const later = singles(streams, 0, behind, 1, 2);
            for (const client of [DEAD, ALIVE])
              streams.words[(streams.client(client) + CLIENT_STATE) >> 2] = CLIENT_LEAVING;
            for (let tries = 0; tries < 3; tries++) for (const client of order) mendClaim(streams, client);
            const found = read(reader);
            const what = JSON.stringify({ owner, order, sizes, behind, made });
            expect(puts(found, 2), what).toEqual(later);
            expect(
              found.reduce((sum, { slots }) => sum + slots, 0),
              what,
            ).toBe(sizes[owner] + behind);
            for (const { op } of found) expect([OP_SKIP, OP_PUT]).toContain(op);
            expectNoGap(streams, [reader]);
            for (const client of order) expect(streams.words[announcementOf(streams, client)]).toBe(0);
          }
        }
      }
    }
  });

  it("announced by a dead one, and claimed by the living holder of the multicast's lock: it is his", () => {
    const streams = streamsOf(2, start);
    const all = readers(streams);
    announce(streams, DEAD, start, 5);
    const multicast = new Multicast(streams, HOLDER_BASE);
    const runs = parcel([[0, 1]], 2);
    let mended: boolean | undefined;
    const { write } = GroupRing.prototype;
    GroupRing.prototype.write = function (...args) {
      // It has claimed, and not written.
      GroupRing.prototype.write = write;
      mended = mendClaim(streams, DEAD);
      write.apply(this, args);
    };
    try {
      expect(multicast.tryAppend(runs.runs, runs.numbered, 1)).toBe(true);
    } finally {
      GroupRing.prototype.write = write;
    }
    expect(mended).toBe(false);
    expect(mendClaim(streams, DEAD)).toBe(true);
    const found = all.map(read);
    expectNoGap(streams, all);
    expect(found.map((records) => records.map(({ op }) => op))).toEqual([[OP_PUT], [OP_MARKER]]);
  });
});

/** A parcel of commands as a client has it in its boxes: to these groups each, some of them several slots long. */
function parcel(commands: readonly (readonly number[])[], groups: number, random?: Random) {
  const runs = Array.from({ length: groups }, () => {
    const bytes = new Uint8Array(MAX_RUN * SLOT);
    return { bytes, words: new Int32Array(bytes.buffer), slots: 0, lastMarker: -1 };
  });
  const numbered: number[] = [];
  const all = (1 << groups) - 1;
  const owners: number[] = [];
  const own: number[] = [];
  let serial = 1;
  for (const [command, to] of commands.entries()) {
    const owner = random?.pick(to) ?? to[0];
    owners.push(owner);
    const mask = to.reduce((bits, group) => bits | (1 << group), 0);
    for (const group of to) {
      const run = runs[group];
      const slots = group === owner ? 1 + (random?.below(3) ?? 0) : 1;
      const at = (run.slots * SLOT) >> 2;
      record(run.words, run.slots, slots, group === owner ? OP_PUT : OP_MARKER, DEAD, serial);
      run.words[at + (OPERATION_GROUPS >> 2)] = mask;
      run.words[at + (OPERATION_KEY >> 2)] = group === owner ? serial : owner;
      numbered.push(command, group, run.slots * SLOT);
      if (mask === all) run.lastMarker = run.slots;
      run.slots += slots;
    }
    own.push(serial++);
    // Now and then one for one group only.
    if (random?.chance(0.3)) {
      const run = runs[random.below(groups)];
      record(run.words, run.slots++, 1, OP_PUT, DEAD, serial++);
    }
  }
  return { runs, numbered, owners, serials: own, last: serial };
}

/** What many-group commands have to be like when all is mended: each in all of its rings, in one order. */
function expectSound(found: readonly (readonly Found[])[]): Map<number, Found[]> {
  const commands = new Map<number, Found[]>();
  for (const [group, records] of found.entries()) {
    let last = 0;
    for (const one of records) {
      if (one.groups === 0) continue;
      if (last !== 0) expect((one.number - last) | 0, `numbers increase in ring ${group}`).toBeGreaterThan(0);
      last = one.number;
      expect((one.groups >>> group) & 1, `ring ${group} is one of the command's`).toBe(1);
      const places = commands.get(one.number) ?? [];
      commands.set(one.number, places);
      places[group] = one;
    }
  }
  for (const [number, places] of commands) {
    const what = `command ${number}: ${JSON.stringify(places)}`;
    const here = places.flatMap((one, group) => (one === undefined ? [] : [group]));
    const { groups } = places[here[0]];
    for (const group of here) expect(places[group].groups, what).toBe(groups);
    expect(
      here.reduce((bits, group) => bits | (1 << group), 0),
      what,
    ).toBe(groups);
    if (here.some((group) => places[group].op === OP_RETRY)) {
      expect(new Set(here.map((group) => places[group].op)), what).toEqual(new Set([OP_RETRY]));
      expect(new Set(here.map((group) => places[group].key)).size, what).toBe(1);
      continue;
    }
    const owners = here.filter((group) => places[group].op !== OP_MARKER);
    expect(owners.length, what).toBe(1);
    for (const group of here) if (group !== owners[0]) expect(places[group].key, what).toBe(owners[0]);
  }
  return commands;
}

/** Lets others write and executors read for a while: they pass no command that is not in all of its rings. */
function meanwhile(streams: Streams, all: readonly RingReader[], found: Found[][], random: Random): number[][] {
  const { groups } = streams.shape;
  const sent: number[][] = Array.from({ length: groups }, () => []);
  for (let round = 0; round < 6; round++) {
    for (let group = 0; group < groups; group++) {
      const ring = new GroupRing(streams, group);
      // As a one-group writer may.
      for (let i = random.below(RING_SLOTS); i > 0 && ring.hasRoom(1, MAX_RUN + groups + 4); i--) {
        sent[group].push(...singles(streams, group, 1, 100_000 + sent[group].length));
      }
      const numbers = (at: number) => new Set(found[at].map(({ number }) => number));
      const stands = found[group].some(
        (one) =>
          one.groups !== 0 &&
          Array.from({ length: groups }, (_, other) => other).some(
            (other) => (one.groups >>> other) & 1 && !numbers(other).has(one.number),
          ),
      );
      if (!stands) found[group].push(...read(all[group]));
    }
  }
  return sent;
}

describe('the lock of the multicast, its holder dead at each step', () => {
  it('held by somebody else, or by nobody: nothing to do', () => {
    const streams = streamsOf(3);
    for (const holder of [0, ALIVE + 1, HOLDER_BASE]) {
      Atomics.store(streams.words, MULTICAST_LOCK >> 2, holder);
      const before = streams.words.slice();
      expect(mendLock(streams, DEAD_HOLDER)).toBe(true);
      expect(sameWords(streams.words, before)).toBe(true);
    }
  });

  it(
    'random parcels of commands to some or all groups: every command is in all of its rings or in none',
    seeded('mending the lock', (random) => {
      const seen = { none: 0, whole: 0, fences: 0, deaths: 0 };
      for (let round = 0; round < 12; round++) {
        const groups = 2 + random.below(4);
        const start = random.pick([0, 2 ** 31 - 20, 2 ** 32 - 20, random.u32()]);
        const commands = Array.from({ length: 1 + random.below(4) }, () => {
          const to = random.shuffled(Array.from({ length: groups }, (_, group) => group));
          return to.slice(0, random.chance(0.4) ? groups : 2 + random.below(groups - 1)).sort((a, b) => a - b);
        });
        const seed = random.u32();
        for (let step = 0, died = true; died; step++) {
          const streams = streamsOf(groups, start);
          const all = readers(streams);
          const found: Found[][] = all.map(() => []);
          const own = parcel(commands, groups, new Random(seed));
          const multicast = new Multicast(streams, DEAD_HOLDER);
          died = dieAt(step, () => expect(multicast.tryAppend(own.runs, own.numbered, commands.length)).toBe(true));
          const sent = random.chance(0.5) ? meanwhile(streams, all, found, random) : all.map(() => []);
          expect(mendLock(streams, DEAD_HOLDER)).toBe(true);
          expectUnlocked(streams);
          // Then somebody else appends.
          const next = parcel([Array.from({ length: groups }, (_, group) => group)], groups);
          const other = new Multicast(streams, HOLDER_BASE);
          for (const [group, reader] of all.entries()) found[group].push(...read(reader));
          expect(other.tryAppend(next.runs, next.numbered, 1)).toBe(true);
          for (const [group, reader] of all.entries()) found[group].push(...read(reader));
          expectNoGap(streams, all);
          const known = expectSound(found);
          // What the others wrote is all there.
          for (const [group, records] of found.entries()) expect(puts(records, ALIVE)).toEqual(sent[group]);
          // All commands of the parcel that came about, or that do nothing.
          seen.deaths++;
          const fences = [...known.values()].flat().filter((one) => one?.op === OP_FENCE);
          for (const fence of fences) expect(fence).toMatchObject({ key: NOBODY, client: NOBODY });
          if (known.size === 1) seen.none++;
          else if (fences.length > 0) seen.fences++;
          else if (known.size === 1 + commands.length) seen.whole++;
          if (!died) expect([known.size, fences.length]).toEqual([1 + commands.length, 0]);
        }
      }
      // Each of the three ends came about.
      for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(20);
    }),
  );

  it('a retry: a marker in every ring, or in none', () => {
    for (const groups of [1, 2, 3, 5]) {
      const ends = new Set<number>();
      for (let step = 0, died = true; died; step++) {
        const start = 2 ** 32 - 7;
        const streams = streamsOf(groups, start);
        const all = readers(streams);
        const holder = HOLDER_BASE + 3;
        const multicast = new Multicast(streams, holder);
        const bytes = new Uint8Array(SLOT);
        const words = new Int32Array(bytes.buffer);
        words[OPERATION_CODE >> 2] = OP_RETRY | (1 << 16);
        words[OPERATION_GROUPS >> 2] = (1 << groups) - 1;
        words[OPERATION_KEY >> 2] = groups - 1;
        died = dieAt(step, () => expect(multicast.tryRetry(bytes, words)).toBe(true));
        expect(mendLock(streams, holder)).toBe(true);
        expectUnlocked(streams);
        const found = all.map(read);
        expectNoGap(streams, all);
        ends.add(expectSound(found).size);
        // Who waits for a sync point looks here whether one is on its way: none that is not may be named.
        for (const [group, ring] of multicast.rings.entries()) {
          const at = found[group].findLastIndex(({ op }) => op !== OP_SKIP);
          const named = (ring.lastMarker() - start) | 0;
          expect(named, `step ${step}, group ${group}`).toBeLessThanOrEqual(at);
        }
        expect(new Multicast(streams, HOLDER_BASE).tryRetry(bytes, words)).toBe(true);
      }
      expect([...ends].sort()).toEqual([0, 1]);
    }
  });

  it('is left alone while a living client announces a place that the dead one announced as well', () => {
    const streams = streamsOf(2);
    const all = readers(streams);
    const own = parcel([[0, 1]], 2);
    const multicast = new Multicast(streams, DEAD_HOLDER);
    // Dead with both rings open: the claim of ring 0 is not published.
    let claimed = false;
    for (let step = 0; !claimed; step++) {
      const probe = streamsOf(2);
      dieAt(step, () => new Multicast(probe, DEAD_HOLDER).tryAppend(own.runs, own.numbered, 1));
      if (probe.words[(probe.ring(0) + RING_CLAIM) >> 2] !== 0) {
        claimed = true;
        dieAt(step, () => multicast.tryAppend(own.runs, own.numbered, 1));
      }
    }
    const word = announcementOf(streams, ALIVE);
    streams.words[word + 1] = 0;
    streams.words[word + 2] = 1;
    Atomics.store(streams.words, word, 1);
    const before = streams.words.slice();
    expect(mendLock(streams, DEAD_HOLDER)).toBe(false);
    expect(sameWords(streams.words, before)).toBe(true);
    Atomics.store(streams.words, word, 0);
    expect(mendLock(streams, DEAD_HOLDER)).toBe(true);
    expectUnlocked(streams);
    expectSound(all.map(read));
    expectNoGap(streams, all);
  });
});

describe('in a store', () => {
  /** No thread has this number. */
  const NO_THREAD = 2 ** 30;
  const CASES: readonly (readonly [ModelName, number, number])[] = [
    ['smr', 1, 1],
    ['opt-psmr', 3, 1],
    ['opt-psmr', 2, 2],
    ['psmr', 3, 2],
    ['keyed', 4, 2],
    ['sdpe', 2, 2],
    ['execute-verify', 2, 2],
  ];

  it.each(CASES)(
    '%s, %d executors, %d replicas: a client dead at each step of a batch',
    async (model, executors, replicas) => {
      await withStore({ model, executors, replicas, clients: 150, ring: 256, fanout: 4 }, async (store) => {
        const hot = 1;
        const many = [10, 20, 30, 40, 50, 60];
        await store.putMany(many, many);
        let sent = 0;
        let deaths = 0;
        for (let step = 0, died = true; died; step++) {
          const client = await connect<number, number>(store.handle);
          const { id } = client;
          died = dieAt(step, () => {
            client.batchSync([
              ['add', hot, 1],
              ['putAll', many, many.map(() => 1000 + step)],
              ['add', hot, 1],
              ['getAll', many.slice(0, 3)],
              ['add', hot + 1, 1],
            ]);
          });
          sent++;
          if (!died) {
            await client.close();
            break;
          }
          deaths++;
          // Its thread is gone, as far as the store can see.
          Atomics.store(store.streams.words, (store.streams.client(id) + CLIENT_THREAD) >> 2, NO_THREAD);
          await store.clientExited(id);
          // The others go on at once, in all groups.
          expect(
            await inTime(
              `others, step ${step}`,
              store.putMany(
                many.map((key) => key + 1),
                many,
              ),
            ),
          ).toBe(step === 0 ? many.length : 0);
          await inTime('an ordered command', store.count());
        }
        await until('all slots are free again', () => store.status().clientsLost === deaths);
        expect(deaths).toBeGreaterThan(8);
        // Both additions of a batch, or none: they travelled together, or one of them was a batch of its own.
        const additions = (store.tree.get(hot) ?? 0) as number;
        expect(additions).toBeLessThanOrEqual(2 * sent);
        expect(additions).toBeGreaterThan(0);
        // What was written at one place of the order is whole.
        const values = many.map((key) => store.tree.get(key));
        expect(new Set(values).size).toBe(1);
        await agreeOnReplicas(store, [...store.tree.range()]);
        expect(store.status()).toMatchObject({ state: 'open', losses: 0 });
      });
    },
  );

  it(
    'an executor dead at steps of a retry, and its replica lost',
    seeded('retries', async (random) => {
      await withStore({ model: 'opt-psmr', executors: 2, replicas: 2, ring: 256, fanout: 4 }, async (store) => {
        const { words } = store.streams;
        let losses = 0;
        let key = 0;
        for (let step = random.below(2), died = true, done = false; !done; ) {
          const victim = 1 - store.status().home;
          const multicast = new Multicast(store.streams, HOLDER_BASE + victim * 2);
          const bytes = new Uint8Array(SLOT);
          const record = new Int32Array(bytes.buffer);
          record[OPERATION_CODE >> 2] = OP_RETRY | (1 << 16);
          record[OPERATION_GROUPS >> 2] = 3;
          await until('the lock is free', () => Atomics.load(words, MULTICAST_LOCK >> 2) === 0);
          died = dieAt(step, () => {
            // Others may have been quicker.
            done = multicast.tryRetry(bytes, record);
          });
          if (!died) continue;
          step += 2;
          await store.kill(victim, 0);
          losses++;
          await until('the loss is known', () => store.status().losses === losses);
          const keys = Array.from({ length: 50 }, () => key++);
          expect(await inTime(`others, step ${step}`, store.putMany(keys, keys))).toBe(keys.length);
          await until('it is back', () => store.status().rebuilds === losses);
        }
        expect(losses).toBeGreaterThan(5);
        await agreeOnReplicas(
          store as AnyStore,
          Array.from({ length: key }, (_, i) => [i, i]),
        );
      });
    }),
  );
});
