/**
 * The log on disks that lose what was not synced: a scripted run is stopped before every single call to the disk, by a kill
 * or by a loss of power; what had been released must be found again, in the order in which it stood, and nothing else.
 */
import { describe, expect, it } from 'vitest';
import { LOG_CUT, LOG_SIGNAL, LOG_SLEEPING } from '../dist/layout/durable.js';
import {
  OP_MARKER,
  OP_PUT,
  OP_PUT_ALL,
  OP_SNAPSHOT,
  OPERATION_CODE,
  OPERATION_GROUPS,
  OPERATION_KEY,
  OPERATION_VALUE,
  SLOT,
} from '../dist/layout/operation.js';
import { EXECUTOR_SIGNAL } from '../dist/layout/streams.js';
import { FileSource } from '../dist/workers/durable/files.js';
import { type FsyncPolicy, LogWriter } from '../dist/workers/durable/log.js';
import { eachRecord, recover, replaceBy, scanSegment } from '../dist/workers/durable/recovery.js';
import { describe as describeSnapshot, SnapshotReader } from '../dist/workers/durable/snapshot.js';
import { Multicast } from '../dist/workers/multicast.js';
import { GroupRing, RingReader } from '../dist/workers/ring.js';
import { Streams } from '../dist/workers/streams.js';
import { Disk, Stopped } from './support/disk.ts';
import { Random, SEED, seeded } from './support/random.ts';

const GROUPS = 3;
const SCHEMA = { key: 'u32', value: 'f64', valueSize: 8 } as const;
const DIRECTORY = '/log';

/** A command of the script: which groups' counters it moves on, to what. */
interface Sent {
  readonly number: number;
  readonly groups: readonly number[];
  /** Position in the ring of each of its groups. */
  readonly at: readonly number[];
}

/** Clients and a log over rings that nobody executes. */
class Run {
  readonly streams: Streams;
  readonly sent: Sent[] = [];
  private readonly multicast: Multicast;
  private cuts = 0;

  private readonly first: number;

  /** @param first number of its first command. @param start position at which the rings begin. */
  constructor(first = 1, start = 0) {
    this.first = first;
    this.streams = Streams.create({
      ...{ groups: GROUPS, executors: 1, replicas: 1, clients: 1, ringSlots: 256, replyBytes: 4096, start },
      logged: true,
    });
    this.multicast = new Multicast(this.streams, 1);
  }

  /** No replica reads: its cursors follow the gates, so that rings never fill up. */
  private drain(): void {
    const { streams } = this;
    for (let group = 0; group < GROUPS; group++) {
      Atomics.store(streams.words, streams.ringCursor(group, 0), Atomics.load(streams.words, streams.gate(group)));
    }
  }

  private record(op: number, group: number, value: number, groups = 0): Uint8Array {
    const bytes = new Uint8Array(SLOT);
    const words = new Int32Array(bytes.buffer);
    words[OPERATION_CODE >> 2] = op | (1 << 16);
    words[OPERATION_GROUPS >> 2] = groups;
    words[OPERATION_KEY >> 2] = group;
    words[OPERATION_VALUE >> 2] = value;
    return bytes;
  }

  /** Sends a command to some groups. */
  send(groups: readonly number[]): void {
    this.drain();
    const number = this.first + this.sent.length;
    const [first] = groups;
    if (groups.length === 1) {
      const position = this.multicast.rings[first].tryAppend(this.record(OP_PUT, first, number), 1, 0);
      expect(position).toBeGreaterThanOrEqual(0);
      this.sent.push({ number, groups, at: [position] });
      return;
    }
    const set = groups.reduce((bits, group) => bits | (1 << group), 0);
    const at = groups.map((group) => this.claimed(group));
    const runs = Array.from({ length: GROUPS }, (_, group) => {
      const bytes = group === first ? this.record(OP_PUT_ALL, set, number, set) : this.record(OP_MARKER, first, 0, set);
      return { bytes, words: new Int32Array(bytes.buffer), slots: groups.includes(group) ? 1 : 0, lastMarker: -1 };
    });
    expect(
      this.multicast.tryAppend(
        runs,
        groups.flatMap((group) => [0, group, 0]),
        1,
      ),
    ).toBe(true);
    this.sent.push({ number, groups, at });
  }

  private claimed(group: number): number {
    return Atomics.load(this.streams.words, this.streams.ring(group) >> 2) >>> 0;
  }

  /** Sends the place of a snapshot that replaces the log. */
  cut(): number {
    this.drain();
    const record = this.record(OP_SNAPSHOT, 0, 1);
    const words = new Int32Array(record.buffer);
    words[(OPERATION_KEY + 4) >> 2] = ++this.cuts;
    expect(this.multicast.tryControl(record, words)).not.toBe(0);
    return this.cuts;
  }

  /** Numbers of the commands that replicas may have executed and answered. */
  released(): number[] {
    const { streams, sent } = this;
    return sent
      .filter(({ groups, at }) => groups.every((group, i) => streams.isReleased(group, at[i])))
      .map(({ number }) => number);
  }
}

/** Numbers of the commands in a directory, in the order of the log; those of its snapshot stand in `before`. */
function read(disk: Disk): { numbers: number[]; before: number; torn: boolean } {
  const { plan, torn, start } = recover(disk, DIRECTORY, SCHEMA);
  const numbers: number[] = [];
  let before = 0;
  if (plan.snapshot !== undefined && 'file' in plan.snapshot) {
    const source = new FileSource(disk, plan.snapshot.file);
    const reader = new SnapshotReader(source, SCHEMA);
    for (const { keys, count } of reader.pieces()) {
      const words = new Uint32Array(keys.slice().buffer);
      for (let i = 0; i < count; i++) numbers.push(words[i]);
    }
    before = numbers.length;
    expect(reader.info.position).toBe(before);
  }
  for (const { file, bytes } of plan.segments) {
    scanSegment(new FileSource(disk, file, bytes), SCHEMA, ({ body }) =>
      eachRecord(body, (at) =>
        numbers.push(new DataView(body.buffer, body.byteOffset + at).getUint32(OPERATION_VALUE, true)),
      ),
    );
  }
  expect(start.commands).toBe(numbers.length);
  return { numbers, before, torn: torn !== undefined };
}

/** What the log holds agrees with what was sent: every group's commands without a gap, in their order. */
function verify(run: Run, numbers: readonly number[], promised: readonly number[], what: string): void {
  expect(new Set(numbers).size, `${what}: nothing twice`).toBe(numbers.length);
  const there = new Set(numbers);
  for (const number of promised) expect(there.has(number), `${what}: command ${number} was promised`).toBe(true);
  const sent = new Map(run.sent.map((command) => [command.number, command]));
  for (const number of numbers) expect(sent.has(number), `${what}: command ${number} was sent`).toBe(true);
  for (let group = 0; group < GROUPS; group++) {
    const of = (list: readonly number[]) => list.filter((n) => sent.get(n)?.groups.includes(group));
    const all = run.sent.filter(({ groups }) => groups.includes(group)).map(({ number }) => number);
    const found = of(numbers);
    expect(found, `${what}: group ${group}`).toEqual(all.slice(0, found.length));
  }
}

/** Puts the snapshot of these commands in the place of the log before a segment. */
function snapshot(disk: Disk, segment: number, numbers: readonly number[]): void {
  const keys = new Uint8Array(Uint32Array.from(numbers).buffer);
  const values = new Uint8Array(numbers.length * 8);
  const content = { pieces: [{ keys, values, count: numbers.length }], entries: numbers.length, digest: 0n };
  replaceBy(disk, DIRECTORY, segment, describeSnapshot(SCHEMA, content, 1, numbers.length), content.pieces);
}

/**
 * One scripted run: the same random choices give the same run. Stops wherever the disk does.
 * @param before the commands of the lives before.
 */
function script(disk: Disk, seed: number, policy: FsyncPolicy, run: Run, before: readonly number[] = []): void {
  const random = new Random(seed, 'script');
  const found = recover(disk, DIRECTORY, SCHEMA);
  const log = new LogWriter(run.streams, disk, found.start, SCHEMA, policy, 0);
  let segment = found.start.segment;
  for (let i = 0; i < 6; i++) {
    for (let n = random.below(6); n > 0; n--) {
      const groups = random.chance(0.7) ? [random.below(GROUPS)] : random.chance(0.5) ? [0, 2] : [0, 1, 2];
      run.send(groups);
    }
    if (i === 3) {
      const number = run.cut();
      log.step();
      expect(Atomics.load(run.streams.words, (run.streams.durableAt + LOG_CUT) >> 2)).toBe(number);
      segment++;
      // What the store has there is what the log has before that segment.
      snapshot(disk, segment, [...before, ...run.released()]);
    } else log.step();
  }
  log.close();
}

describe('the log on a disk that forgets', () => {
  for (const policy of ['always', 'interval', 'never'] as const) {
    it(
      `${policy}: stopped before every call to the disk`,
      seeded(`crash ${policy}`, (random) => {
        const seed = random.u32();
        const whole = new Disk(new Random(SEED, 'whole'));
        const run = new Run();
        script(whole, seed, policy, run);
        expect(read(whole.afterKill()).numbers.length).toBe(run.sent.length);
        expect(whole.calls).toBeGreaterThan(20);
        let torn = 0;
        for (let last = 0; last <= whole.calls; last++) {
          for (const end of ['kill', 'power'] as const) {
            const disk = new Disk(random);
            disk.lastCall = last;
            const stopped = new Run();
            try {
              script(disk, seed, policy, stopped);
              expect(last).toBe(whole.calls);
            } catch (error) {
              if (!(error instanceof Stopped)) throw error;
            }
            const what = `${policy}, ${end} before call ${last}`;
            const left = end === 'kill' ? disk.afterKill() : disk.afterPowerLoss();
            // The end of the process loses nothing under any policy, that of the machine nothing under `always`.
            const promised = end === 'kill' || policy === 'always' ? stopped.released() : [];
            // Recovery may be stopped too, and then is begun again.
            left.lastCall = random.below(6);
            let found: ReturnType<typeof read> | undefined;
            try {
              found = read(left);
            } catch (error) {
              if (!(error instanceof Stopped)) throw error;
            }
            if (found?.torn) torn++;
            // What recovery has found is there for good.
            const safe = found !== undefined || policy === 'always';
            const after = safe && random.chance(0.5) ? left.afterPowerLoss() : left.afterKill();
            const { numbers } = read(after);
            verify(stopped, numbers, promised, what);
            if (found !== undefined) expect(numbers, what).toEqual(found.numbers);
          }
        }
        expect(torn).toBeGreaterThan(0);
      }),
    );
  }

  it(
    'goes on after each stop, life after life',
    seeded('lives', (random) => {
      for (let round = 0; round < 30; round++) {
        let disk = new Disk(random);
        let before: number[] = [];
        for (let life = 0; life < 6; life++) {
          disk.lastCall = random.below(70);
          const run = new Run(life * 1000 + 1, random.chance(0.3) ? 0xfffffff0 : 0);
          try {
            script(disk, random.u32(), 'always', run, before);
          } catch (error) {
            if (!(error instanceof Stopped)) throw error;
          }
          disk = random.chance(0.5) ? disk.afterKill() : disk.afterPowerLoss();
          const { numbers } = read(disk);
          // A disk that stopped in the middle of one call goes on with the next process.
          expect(numbers.slice(0, before.length), `round ${round}, life ${life}`).toEqual(before);
          verify(run, numbers.slice(before.length), run.released(), `round ${round}, life ${life}`);
          before = numbers;
        }
      }
    }),
  );

  it('releases nothing before it is on the disk, and nothing at all once the disk fails', () => {
    const disk = new Disk(new Random(SEED));
    const run = new Run();
    const log = new LogWriter(run.streams, disk, recover(disk, DIRECTORY, SCHEMA).start, SCHEMA, 'always', 0);
    run.send([0]);
    expect(run.released()).toEqual([]);
    disk.failNextSync = 'EIO';
    expect(() => log.step()).toThrow('EIO');
    expect(run.released()).toEqual([]);
    // The bytes are there; the promise is not.
    expect(read(disk.afterKill()).numbers).toEqual([1]);
  });

  it('replicas take nothing that is not released, and are woken when it is', () => {
    const disk = new Disk(new Random(SEED));
    const run = new Run();
    const { words } = run.streams;
    const log = new LogWriter(run.streams, disk, recover(disk, DIRECTORY, SCHEMA).start, SCHEMA, 'always', 0);
    const reader = new RingReader(run.streams, 1, 0);
    const signal = (run.streams.executor(0, 0) + EXECUTOR_SIGNAL) >> 2;
    run.send([1]);
    run.send([1]);
    expect(reader.poll(64)).toBe(0);
    reader.announceSleep();
    const before = Atomics.load(words, signal);
    log.step();
    expect(Atomics.load(words, signal)).toBe(before + 1);
    expect(reader.poll(64)).toBe(2);
    reader.advance(2);
    // Who sends wakes the log, which is the one to wake the replica.
    reader.announceSleep();
    const sleeping = (run.streams.durableAt + LOG_SLEEPING) >> 2;
    Atomics.store(words, sleeping, 1);
    const wakeups = Atomics.load(words, (run.streams.durableAt + LOG_SIGNAL) >> 2);
    run.send([1]);
    expect(Atomics.load(words, signal)).toBe(before + 1);
    expect(Atomics.load(words, sleeping)).toBe(0);
    expect(Atomics.load(words, (run.streams.durableAt + LOG_SIGNAL) >> 2)).toBe(wakeups + 1);
    expect(reader.poll(64)).toBe(0);
  });

  it('a hole is damage if what stands behind it proves that it was safe, and a torn tail if nothing does', () => {
    for (const policy of ['always', 'never'] as const) {
      const disk = new Disk(new Random(SEED));
      const run = new Run();
      const log = new LogWriter(run.streams, disk, recover(disk, DIRECTORY, SCHEMA).start, SCHEMA, policy, 0);
      const path = `${DIRECTORY}/log-0000000001`;
      run.send([0]);
      log.step();
      const hole = disk.open(path).size() + 40;
      for (let n = 0; n < 3; n++) {
        run.send([0]);
        log.step();
      }
      const left = disk.afterKill();
      left.damage(path, hole);
      if (policy === 'never') expect(read(left)).toMatchObject({ numbers: [1], torn: true });
      else expect(() => read(left)).toThrow(expect.objectContaining({ code: 'ERR_LOG_CORRUPT' }));
    }
  });

  it('gates the writers: what it has not read is not overwritten', () => {
    const run = new Run();
    const disk = new Disk(new Random(SEED));
    const log = new LogWriter(run.streams, disk, recover(disk, DIRECTORY, SCHEMA).start, SCHEMA, 'never', 0);
    const { words } = run.streams;
    const { ringSlots } = run.streams.shape;
    // A replica that is as fast as can be: only the log can be behind.
    const record = new Uint8Array(SLOT);
    record[OPERATION_CODE] = OP_PUT;
    record[2] = 1;
    const ring = new GroupRing(run.streams, 0);
    const append = () => {
      const claimed = Atomics.load(words, run.streams.ring(0) >> 2);
      Atomics.store(words, run.streams.ringCursor(0, 0), claimed);
      return ring.tryAppend(record, 1, 0);
    };
    for (let n = 0; n < ringSlots; n++) expect(append()).toBe(n);
    expect(append()).toBe(-1);
    expect(log.step()).toBe(true);
    expect(append()).toBe(ringSlots);
    log.close();
    expect(read(disk.afterKill()).numbers.length).toBe(ringSlots);
  });

  it('a marker waits for its other rings, and what stands behind it too', () => {
    const disk = new Disk(new Random(SEED));
    const run = new Run();
    const log = new LogWriter(run.streams, disk, recover(disk, DIRECTORY, SCHEMA).start, SCHEMA, 'always', 0);
    run.send([0]);
    run.send([0, 2]);
    run.send([0]);
    run.send([1]);
    // The ring of group 2 as if its marker had not been published yet.
    const { words } = run.streams;
    const word = run.streams.publications(2);
    const published = Atomics.exchange(words, word, 0);
    expect(log.step()).toBe(true);
    expect(run.released()).toEqual([1, 4]);
    expect(log.step()).toBe(false);
    Atomics.store(words, word, published);
    expect(log.step()).toBe(true);
    expect(run.released()).toEqual([1, 2, 3, 4]);
    expect(read(disk.afterKill()).numbers).toEqual([1, 4, 2, 3]);
  });
});
