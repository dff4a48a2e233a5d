/**
 * The supervisor's part in snapshots and the log: it has their threads, brings cuts about, and sees to it that the log
 * does not grow for ever.
 */
import { type Remote, releaseProxy, wrap } from 'comlink';
import { startLogThread, startSnapshotThread } from '#platform';
import { SabtreeError } from '../../engine/errors.ts';
import type { MovedType } from '../../engine/values.ts';
import {
  LOG_BEHIND,
  LOG_COUNTER_COUNT,
  LOG_COUNTERS,
  LOG_SEGMENTS,
  SNAPSHOT_COPIED,
  SNAPSHOT_NUMBER,
  SNAPSHOT_REACHED,
  SNAPSHOT_SOURCE,
} from '../../layout/durable.ts';
import { STATE_OPEN, STATE_READ_ONLY } from '../../layout/streams.ts';
import { type Failure, failureError, isFailure, stateError } from '../failure.ts';
import type { ChildThread } from '../platform.ts';
import type { Streams } from '../streams.ts';
import type { WaitName } from '../waiting.ts';
import type { Schema } from './frames.ts';
import type { LogConfig, LogControl } from './log-worker.ts';
import type { Recovery } from './recovery.ts';
import type { SnapshotInfo } from './snapshot.ts';
import type { Copied, SnapshotConfig, SnapshotControl } from './snapshot-worker.ts';

/** Segments that pile up, from store to store, before a snapshot replaces them. */
const MANY_SEGMENTS = 16;
/** Tries to copy a replica: others may be lost meanwhile. */
const TRIES = 5;
/** Milliseconds the log may take to write what is left. */
const CLOSE_LIMIT = 60_000;
/** Their numbers begin here: those of the cuts that replicas are rebuilt from, which are found by them, stay below. */
const FIRST_NUMBER = 2 ** 30;
/** Milliseconds until a snapshot of the log that failed is tried again. */
const AGAIN = 10_000;

/** What a keeper needs of its supervisor. */
export interface KeeperParts {
  readonly streams: Streams;
  readonly memories: readonly WebAssembly.Memory[];
  readonly value: MovedType;
  readonly schema: Schema;
  readonly wait: WaitName;
  readonly log: LogConfig | undefined;
  /** Appends a control command for a snapshot of `source`; its number in the order, 0 if the store is closing. */
  cut(source: number, number: number, replaces: boolean): Promise<number>;
  /** The replica to copy. @throws if there is none */
  source(): number;
  /** The log cannot go on. */
  failed(): void;
  /** A snapshot replaced the log, or why it could not. */
  tell(bytes: number | undefined, ms: number, reason: string | undefined): void;
}

/** An error from a thread that ended while it was called: comlink's calls would never settle. */
function endOf(thread: ChildThread, what: string): Promise<Failure> {
  return new Promise((resolve) => {
    thread.onEnd((error) => resolve({ code: 'ERR_IO', message: `${what} ended: ${error ?? 'it was ended'}` }));
  });
}

/** A thread that copies a replica, and has the copy. */
class Copier {
  readonly control: Remote<SnapshotControl>;
  private readonly thread: ChildThread;
  private readonly ended: Promise<Failure>;

  constructor() {
    this.thread = startSnapshotThread('sabtree snapshot');
    this.ended = endOf(this.thread, "the snapshot's thread");
    this.control = wrap<SnapshotControl>(this.thread.endpoint);
  }

  /** What a call of the thread answers. @throws what it failed with, also if the thread ends meanwhile */
  async ask<P extends Promise<unknown>>(call: P): Promise<Exclude<Awaited<P>, Failure>> {
    const answer = await Promise.race([call, this.ended]);
    if (isFailure(answer)) throw failureError(answer);
    return answer as Exclude<Awaited<P>, Failure>;
  }

  async end(): Promise<void> {
    this.control[releaseProxy]();
    await this.thread.terminate();
  }
}

/** A copy of a replica, and the thread that has it. */
interface Copy extends Copied {
  readonly copier: Copier;
}

/** Keeps a store's snapshots and its log. */
export class Keeper {
  private readonly parts: KeeperParts;
  private readonly words: Int32Array;
  private readonly counters: Float64Array;
  private readonly log: { thread: ChildThread; control: Remote<LogControl> } | undefined;
  private readonly logEnded: Promise<Failure> | undefined;
  private over: Promise<unknown> | undefined;
  private turn: Promise<unknown> = Promise.resolve();
  private number = FIRST_NUMBER;
  private replacing = false;
  /** The last try to replace the log failed. */
  private owed = false;
  private notBefore = 0;
  private readonly handing = new Map<number, Copier>();

  constructor(parts: KeeperParts) {
    const { streams, log } = parts;
    this.parts = parts;
    this.words = streams.words;
    this.counters = new Float64Array(streams.memory, streams.durableAt + LOG_COUNTERS, LOG_COUNTER_COUNT);
    if (log === undefined) return;
    const thread = startLogThread('sabtree log');
    this.logEnded = endOf(thread, "the log's thread");
    this.log = { thread, control: wrap<LogControl>(thread.endpoint) };
  }

  private word(offset: number): number {
    return (this.parts.streams.durableAt + offset) >> 2;
  }

  // --- the log ------------------------------------------------------------------------------------------------------

  /** Opens the log: what was found there; undefined in a store without one. @throws ERR_LOG_IN_USE, ERR_LOG_CORRUPT, ... */
  async open(): Promise<Recovery | undefined> {
    const { log, parts, logEnded } = this;
    if (log === undefined || logEnded === undefined) return undefined;
    const opened = log.control.open(parts.log as LogConfig, parts.schema, parts.streams.memory, parts.wait);
    const found = await Promise.race([opened, logEnded]);
    if (isFailure(found)) throw failureError(found);
    return found;
  }

  /** The replicas are loaded: what of the log's commands was given up on the way is written. @throws ERR_IO, ERR_LOG_FAILED */
  async loaded(): Promise<void> {
    const { log, logEnded } = this;
    if (log === undefined || logEnded === undefined) return;
    const failure = await Promise.race([log.control.loaded(), logEnded]);
    if (failure !== undefined) throw failureError(failure);
  }

  /** Lets the log begin. */
  run(): void {
    const { log, logEnded } = this;
    if (log === undefined || logEnded === undefined) return;
    this.over = Promise.race([log.control.run(), logEnded]).then((failure) => {
      if (failure !== undefined) this.parts.failed();
    });
  }

  /** Ends everything: the streams are closing already. */
  async stop(): Promise<void> {
    const { log } = this;
    // Who waits for a copy sees that the store ends.
    await this.turn;
    for (const copier of this.handing.values()) await copier.end();
    this.handing.clear();
    if (log === undefined) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_LIMIT);
    });
    await Promise.race([this.over ?? log.control.abandon(), this.logEnded, late]);
    clearTimeout(timer);
    log.control[releaseProxy]();
    await log.thread.terminate();
  }

  /** Has the log replaced by a snapshot when enough of it stands behind the last one. */
  tick(now: number): void {
    const { log, streams } = this.parts;
    if (log === undefined || this.replacing || now < this.notBefore || streams.state !== STATE_OPEN) return;
    const { counters } = this;
    const long = counters[LOG_BEHIND] >= log.snapshotEvery || counters[LOG_SEGMENTS] > MANY_SEGMENTS;
    if (log.snapshotEvery === 0 || !(long || this.owed)) return;
    this.replaceLog().catch(() => {
      this.notBefore = performance.now() + AGAIN;
    });
  }

  /** Replaces the log so far by a snapshot. */
  async replaceLog(): Promise<SnapshotInfo> {
    const { log, tell, streams } = this.parts;
    if (log === undefined) throw new SabtreeError('ERR_UNSUPPORTED', 'the store was opened without a log');
    // Which replica is right nobody can tell: the log can.
    if (streams.state === STATE_READ_ONLY) throw stateError(streams);
    const began = performance.now();
    this.replacing = true;
    try {
      return await this.inTurn(true, async ({ copier, info, segment }) => {
        const bytes = await copier.ask(copier.control.replace(log.directory, segment));
        this.owed = false;
        tell(bytes, performance.now() - began, undefined);
        return info;
      });
    } catch (error) {
      this.owed = true;
      if (streams.state <= STATE_READ_ONLY) {
        tell(undefined, performance.now() - began, error instanceof Error ? error.message : String(error));
      }
      throw error;
    } finally {
      this.replacing = false;
    }
  }

  // --- snapshots ----------------------------------------------------------------------------------------------------

  /** Writes a snapshot into a file. */
  snapshot(path: string): Promise<SnapshotInfo> {
    return this.inTurn(false, async ({ copier, info }) => {
      await copier.ask(copier.control.write(path));
      return info;
    });
  }

  /** Makes a copy that `next` hands out piece by piece until `release`. */
  async begin(): Promise<{ readonly id: number; readonly info: SnapshotInfo }> {
    const { copier, info } = await this.queue(() => this.copy(false));
    const id = ++this.number;
    this.handing.set(id, copier);
    return { id, info };
  }

  async next(id: number): Promise<Uint8Array | undefined> {
    const copier = this.handing.get(id);
    if (copier === undefined) throw new SabtreeError('ERR_CLOSED', 'the store ended during a snapshot');
    return copier.ask(copier.control.next());
  }

  async release(id: number): Promise<void> {
    const copier = this.handing.get(id);
    this.handing.delete(id);
    await copier?.end();
  }

  /** One copy after another: there is one place for what is under way. */
  private queue<T>(make: () => Promise<T>): Promise<T> {
    const result = this.turn.then(make);
    this.turn = result.catch(() => {});
    return result;
  }

  private inTurn<T>(replaces: boolean, use: (copy: Copy) => Promise<T>): Promise<T> {
    return this.queue(async () => {
      const copy = await this.copy(replaces);
      try {
        return await use(copy);
      } finally {
        await copy.copier.end();
      }
    });
  }

  /** Copies a replica at a place of the order; another one if it is lost meanwhile. */
  private async copy(replaces: boolean): Promise<Copy> {
    const { streams } = this.parts;
    for (let tries = 1; ; tries++) {
      const source = this.parts.source();
      const generation = streams.generation(source);
      try {
        return await this.copyOf(source, replaces);
      } catch (error) {
        const lost = ((streams.alive >>> source) & 1) === 0 || streams.generation(source) !== generation;
        if (!lost || tries === TRIES || streams.state > STATE_READ_ONLY) throw error;
      }
    }
  }

  private async copyOf(source: number, replaces: boolean): Promise<Copy> {
    const { parts, words } = this;
    const { streams, memories, value, schema } = parts;
    const number = ++this.number;
    const copier = new Copier();
    try {
      const config: SnapshotConfig = {
        ...{ streams: streams.memory, memory: memories[source], value, schema, source, number },
      };
      await copier.ask(copier.control.prepare(config));
      words[this.word(SNAPSHOT_SOURCE)] = source;
      Atomics.store(words, this.word(SNAPSHOT_NUMBER), number);
      const cut = await parts.cut(source, number, replaces);
      if (cut === 0) throw new SabtreeError('ERR_CLOSED', 'the store ended during a snapshot');
      return { copier, ...(await copier.ask(copier.control.copy(cut))) };
    } catch (error) {
      await copier.end();
      throw error;
    } finally {
      // Whoever still stands there goes on: it was copied, or will not be.
      Atomics.store(words, this.word(SNAPSHOT_NUMBER), ++this.number);
      Atomics.notify(words, this.word(SNAPSHOT_COPIED));
    }
  }

  /** Whether a replica stands still to be copied. */
  isCopied(replica: number): boolean {
    const { words } = this;
    const number = Atomics.load(words, this.word(SNAPSHOT_NUMBER));
    return (
      words[this.word(SNAPSHOT_SOURCE)] === replica &&
      Atomics.load(words, this.word(SNAPSHOT_REACHED)) === number &&
      Atomics.load(words, this.word(SNAPSHOT_COPIED)) !== number
    );
  }
}
