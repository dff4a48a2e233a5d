/**
 * The supervisor of a store: it starts the replicas' threads and watches them, in a thread of its own, so that nothing a
 * user's thread does can keep it. When a replica is lost it names the next home replica and rebuilds the lost one from a
 * healthy one; when a client's thread is gone it mends what that left behind; and it has the replicas compared.
 *
 * Everything it decides that all replicas have to see at the same place goes through the streams, as control commands.
 */
import { releaseProxy, wrap } from 'comlink';
import { ownThread, startExecutorThread, threadToken } from '#platform';
import { SabtreeError } from '../engine/errors.ts';
import { resetTree } from '../engine/reset.ts';
import type { MovedType } from '../engine/values.ts';
import {
  OP_COMPARE,
  OP_CUT,
  OP_FENCE,
  OP_SNAPSHOT,
  OP_TAKEOVER,
  OPERATION_CODE,
  OPERATION_KEY,
  OPERATION_VALUE,
  SLOT,
} from '../layout/operation.ts';
import {
  CLIENT_LEAVING,
  CLIENT_STATE,
  CLIENT_THREAD,
  CLIENT_TREE_THREADS,
  CLIENT_USED,
  COUNTER_COMMANDS,
  CUT_COPIED,
  CUT_LOADED,
  CUT_NUMBER,
  CUT_REACHED,
  CUT_SOURCE,
  CUT_TARGET,
  EXECUTOR_AREA,
  EXECUTOR_BEAT,
  EXECUTOR_COMPARE_COUNT,
  EXECUTOR_COMPARE_HIGH,
  EXECUTOR_COMPARE_LOW,
  EXECUTOR_COMPARE_NUMBER,
  EXECUTOR_COUNTERS,
  EXECUTOR_KEPT,
  EXECUTOR_PARKED,
  EXECUTOR_RELEASED,
  EXECUTOR_STANDING,
  EXECUTOR_TREE_THREAD,
  FAILURE_DIVERGED,
  FAILURE_EXECUTOR,
  FAILURE_LATCH,
  FAILURE_LOG,
  FAILURE_MEMORY,
  FAILURE_REBUILD,
  FAILURE_STALLED,
  FAILURE_TERMINATED,
  GENERATIONS,
  RING_CLAIM,
  STATE_OPEN,
  STATE_READ_ONLY,
  STATE_STARTING,
  STREAMS_ALIVE,
  STREAMS_COMPARED,
  STREAMS_CUTTER,
  STREAMS_DIVERGED,
  STREAMS_EPOCH,
  STREAMS_FAILOVERS,
  STREAMS_HOME,
  STREAMS_LAST_HOME,
  STREAMS_LONGEST_PAUSE,
  STREAMS_LOSSES,
  STREAMS_PAUSE,
  STREAMS_READY,
  STREAMS_REAPED,
  STREAMS_REBUILDS,
  STREAMS_STATE,
  STREAMS_SUPERVISOR,
  VERIFY_MADE,
  VERIFY_TAKEN,
} from '../layout/streams.ts';
import { freeReader, ifGone } from './dead-clients.ts';
import type { Schema } from './durable/frames.ts';
import { Keeper } from './durable/keeper.ts';
import type { LogConfig } from './durable/log-worker.ts';
import type { LoadPlan, Recovery } from './durable/recovery.ts';
import { HOLDER_BASE } from './executor.ts';
import type { ExecutorConfig, ExecutorControl } from './executor-worker.ts';
import { FAILURE_REASONS, type Failure, failStreams, failureError, wakeEverybody } from './failure.ts';
import type { MixerName, ModelName, Rebuild } from './models/model.ts';
import { Multicast } from './multicast.ts';
import type { ChildThread } from './platform.ts';
import { endStanding, standsForReader } from './reading.ts';
import { mendClaim, mendLock } from './repair.ts';
import { Streams } from './streams.ts';
import type { WaitName } from './waiting.ts';
import { freeWatchersOf, mendLog, TagSweeper, waitsForWatcher } from './watch-memory.ts';

/** What a supervisor is started with: structured-cloneable. */
export interface SupervisorConfig {
  readonly streams: SharedArrayBuffer;
  readonly memories: readonly WebAssembly.Memory[];
  readonly value: MovedType;
  readonly model: ModelName;
  readonly wait: WaitName;
  readonly mixer: MixerName;
  /** URLs of the modules of user-defined commands. */
  readonly commands: readonly string[];
  /** Milliseconds that one may take; 0: as long as it likes. */
  readonly commandTimeout: number;
  /** Most bytes of a value. */
  readonly maxValue: number;
  /** Whether lost replicas are rebuilt. */
  readonly rebuild: boolean;
  /** Milliseconds without progress after which a replica is taken for lost. */
  readonly stallTimeout: number;
  /** Milliseconds between comparisons of the replicas; 0: never. */
  readonly compareEvery: number;
  /** What keys and values are, as files say it. */
  readonly schema: Schema;
  /** Where the log is, if there is one. */
  readonly log?: LogConfig;
  /** A snapshot that the store begins with. */
  readonly restore?: NonNullable<LoadPlan['snapshot']>;
}

/**
 * What happens to a store. `replica`, `from` and `client` are numbers of replicas and clients, `reason` is for people, times are in
 * milliseconds.
 */
export type StoreEvent =
  /** A replica was lost; `home`: the one that answered. */
  | { readonly type: 'lost'; readonly replica: number; readonly home: boolean; readonly reason: string }
  /** Another replica is home now; `pauseMs` from the moment the loss was seen. */
  | { readonly type: 'failover'; readonly replica: number; readonly pauseMs: number }
  /** A lost replica is back, `ms` after its rebuilding began; it was copied from replica `from`. */
  | { readonly type: 'rebuilt'; readonly replica: number; readonly from: number; readonly ms: number }
  /** A replica could not be rebuilt; it is not tried again if `final`. */
  | { readonly type: 'rebuild-failed'; readonly replica: number; readonly reason: string; readonly final: boolean }
  /**
   * The replicas' contents differ; `position` is the number of the comparison's place in the order. `readOnly`: there is no
   * majority, so the store refuses writes from here on; otherwise the others are lost and rebuilt.
   */
  | { readonly type: 'diverged'; readonly position: number; readonly readOnly: boolean }
  /** A client's thread ended without closing its client, and its slot was taken back. */
  | { readonly type: 'client-lost'; readonly client: number }
  /** A snapshot of `bytes` bytes replaced the log so far, and took `ms`. */
  | { readonly type: 'log-replaced'; readonly bytes: number; readonly ms: number }
  /** That failed; the log goes on, and it is tried again later. */
  | { readonly type: 'log-replace-failed'; readonly reason: string }
  /** The last replica was lost, or the log: every call fails from here on. */
  | { readonly type: 'failed'; readonly reason: string };

/** Milliseconds threads may take to stop by themselves. */
const STOP_LIMIT = 2_000;
/** Milliseconds between two looks at everything. */
const TICK = 20;
/** Milliseconds between two looks at the clients' threads, and after which an unanswered fence is sent again. */
const CLIENT_TICK = 100;
const FENCE_AGAIN = 1000;
/** Rebuilds of one replica that fail in a row before it is given up. */
const REBUILD_TRIES = 3;
/** What stands in the multicast lock while the supervisor holds it. */
const HOLDER = HOLDER_BASE << 1;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** One thread of a replica. */
interface Member {
  readonly thread: ChildThread;
  /** Resolves when it has allocated what it needs; rejects with why it has not. */
  readonly ready: Promise<void>;
  /** Resolves when the thread's loop has returned or the thread has ended, with why if there is a reason. */
  readonly over: Promise<number>;
  /** Resolves when the thread itself has ended. */
  readonly ended: Promise<void>;
  run(): void;
}

/** A rebuild that another loss made impossible. */
class Interrupted extends Error {}

/** How far a replica's thread had got when it was last looked at. */
interface Watch {
  beat: number;
  cursors: number;
  ticks: number;
}

/** Keeps the replicas of one store going. */
export class Supervisor {
  private readonly config: SupervisorConfig;
  private readonly tell: (event: StoreEvent) => void;
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly multicast: Multicast;
  private readonly members: Member[][] = [];
  /** By replica: resolves when nothing of a lost replica runs any more, and what it left is mended. */
  private readonly clearing: Promise<void>[] = [];
  private readonly failures: number[] = [];
  private lastFailure = FAILURE_TERMINATED;
  private readonly tries: number[] = [];
  private readonly watches: Watch[][] = [];
  private readonly fenced = new Map<number, number>();
  private readonly record = new Uint8Array(SLOT);
  private readonly recordWords = new Int32Array(this.record.buffer);
  private timer: ReturnType<typeof setInterval> | undefined;
  private stopping = false;
  private lostHomeAt = 0;
  /** The replica that was told to take over and has not yet, -1 if none. */
  private heir = -1;
  private rebuilding = -1;
  private rebuildLoop: Promise<void> | undefined;
  private cut = 0;
  private comparison = 0;
  private comparing = false;
  private comparedAt = 0;
  private comparedClaims = -1;
  private clientTick = 0;
  private readonly sweeper: TagSweeper;
  /** Snapshots and the log. */
  readonly keeper: Keeper;
  /** What was found when the log was opened. */
  recovered: Pick<Recovery, 'replayed' | 'torn'> | undefined;

  constructor(config: SupervisorConfig, tell: (event: StoreEvent) => void) {
    this.config = config;
    this.tell = tell;
    this.streams = Streams.attach(config.streams);
    this.words = this.streams.words;
    this.multicast = new Multicast(this.streams, HOLDER);
    this.sweeper = new TagSweeper(this.streams);
    const { memories, value, schema, wait, log } = config;
    this.keeper = new Keeper({
      ...{ streams: this.streams, memories, value, schema, wait, log },
      cut: (source, number, replaces) => this.control(OP_SNAPSHOT, source, number, [replaces ? 1 : 0, 0]),
      source: () => this.sourceFor(-1),
      failed: () => this.fail(FAILURE_LOG),
      tell: (bytes, ms, reason = '') =>
        tell(bytes === undefined ? { type: 'log-replace-failed', reason } : { type: 'log-replaced', bytes, ms }),
    });
  }

  // --- start and end ------------------------------------------------------------------------------------------------

  /** Starts all threads; resolves when they have allocated what they need. @throws ERR_MEMORY_EXHAUSTED, ERR_REPLICAS_LOST */
  async prepare(): Promise<void> {
    const { replicas } = this.streams.shape;
    await ownThread();
    Atomics.store(this.words, STREAMS_SUPERVISOR >> 2, threadToken());
    const load = await this.openLog();
    for (let replica = 0; replica < replicas; replica++) this.startReplica(replica, undefined, load);
    await Promise.all(this.members.flat().map(({ ready }) => ready));
    await this.keeper.loaded();
  }

  /** What the replicas are loaded with: the log's content, or a snapshot. */
  private async openLog(): Promise<LoadPlan | undefined> {
    const { restore, log } = this.config;
    const found = await this.keeper.open();
    if (found === undefined) return restore && { snapshot: restore, segments: [], largest: 0, givenUp: [] };
    const { plan, start, replayed, torn } = found;
    this.recovered = { replayed, torn };
    if (restore === undefined) return plan;
    if (start.commands > 0 || plan.snapshot !== undefined) {
      throw new SabtreeError(
        'ERR_OPTION',
        `option restore: the log in ${log?.directory} has a content of its own`,
        log?.directory,
      );
    }
    return { ...plan, snapshot: restore };
  }

  /** What was restored from a snapshot goes into the log's directory, for the log knows nothing of it. */
  async secure(): Promise<void> {
    if (this.config.restore !== undefined && this.config.log !== undefined) await this.keeper.replaceLog();
  }

  private startReplica(replica: number, rebuild: Rebuild | undefined, load?: LoadPlan): void {
    const { executors: threads } = this.streams.shape;
    this.members[replica] = Array.from({ length: threads }, (_, thread) =>
      this.startMember(replica, thread, rebuild, load),
    );
    this.watches[replica] = Array.from({ length: threads }, () => ({ beat: -1, cursors: -1, ticks: 0 }));
  }

  private startMember(replica: number, thread: number, rebuild: Rebuild | undefined, load?: LoadPlan): Member {
    const { streams, memories, value, model, wait, mixer, commands, commandTimeout, maxValue } = this.config;
    const config: ExecutorConfig = {
      ...{ streams, memory: memories[replica], value, model, replica, thread, wait, mixer },
      ...{ commands, commandTimeout, maxValue },
      ...(rebuild && { rebuild }),
      ...(load && thread === 0 && (replica === 0 ? { load } : { copied: memories[0] })),
    };
    const child = startExecutorThread(`sabtree ${replica}/${thread}`);
    const control = wrap<ExecutorControl>(child.endpoint);
    // A call over comlink never settles if its thread dies, so the thread's end is watched beside it.
    let cause: unknown;
    const ended = new Promise<void>((resolve) => {
      child.onEnd((error) => {
        cause = error;
        resolve();
      });
    });
    const died = ended.then((): Failure => {
      const message = cause === undefined ? 'the thread ended' : String(cause);
      return { code: cause === undefined ? 'ENDED' : 'ERR_EXECUTOR', message };
    });
    // The other replicas are copied from the first one, when that is loaded: so commands of a log run once, and come to one thing.
    const loaded = config.copied === undefined ? undefined : this.members[0][0].ready;
    const prepared = Promise.resolve(loaded).then(() => control.prepare(config));
    const ready = Promise.race([prepared, died]).then((failure) => {
      if (failure === undefined) return;
      const message = `thread ${thread} of replica ${replica} did not start: ${failure.message}`;
      throw failureError({ ...failure, message });
    });
    ready.catch(() => {});
    let begun = false;
    let begin: (ran: Promise<Failure | undefined>) => void = () => {};
    const ran = new Promise<Failure | undefined>((resolve) => {
      begin = resolve;
    });
    const over = Promise.race([ran, died]).then((failure) => (failure === undefined ? 0 : failureCode(failure)));
    void over.then((failure) => {
      begun = true;
      control[releaseProxy]();
      if (failure !== 0 && this.members[replica]?.some(({ thread: one }) => one === child)) this.lose(replica, failure);
    });
    const run = () => {
      if (!begun) begin(control.run().catch((error): Failure => ({ code: 'ERR_EXECUTOR', message: String(error) })));
      begun = true;
    };
    return { thread: child, ready, over, ended, run };
  }

  /** Lets all threads begin. */
  run(): void {
    Atomics.compareExchange(this.words, STREAMS_STATE >> 2, STATE_STARTING, STATE_OPEN);
    for (const member of this.members.flat()) member.run();
    this.keeper.run();
    this.comparedAt = performance.now();
    this.timer = setInterval(() => this.tick(), TICK);
  }

  /** Ends everything: the streams are closing already. */
  async stop(): Promise<void> {
    this.stopping = true;
    clearInterval(this.timer);
    await this.rebuildLoop;
    const members = this.members.flat();
    // Those that were never let go end as well.
    for (const member of members) member.run();
    await Promise.race([Promise.all(members.map(({ over }) => over)), sleep(STOP_LIMIT)]);
    await Promise.all(members.map(({ thread }) => thread.terminate()));
    await this.keeper.stop();
  }

  /** Ends threads of a replica, wherever they are: for drills. */
  async kill(replica: number, thread?: number): Promise<void> {
    const members = this.members[replica] ?? [];
    const chosen = thread === undefined ? members : members.slice(thread, thread + 1);
    await Promise.all(chosen.map((member) => member.thread.terminate()));
  }

  // --- loss ---------------------------------------------------------------------------------------------------------

  private get open(): boolean {
    return !this.stopping && this.streams.state <= STATE_READ_ONLY;
  }

  private isSet(word: number, replica: number): boolean {
    return ((Atomics.load(this.words, word >> 2) >>> replica) & 1) === 1;
  }

  /** Takes a replica out: its readers no longer gate the writers, its threads are ended, everybody who waits is woken. */
  private lose(replica: number, failure: number): void {
    const { words, streams } = this;
    const bit = 1 << replica;
    if (!this.open || (Atomics.and(words, STREAMS_ALIVE >> 2, ~bit) & bit) === 0) return;
    Atomics.and(words, STREAMS_READY >> 2, ~bit);
    Atomics.add(words, STREAMS_LOSSES >> 2, 1);
    this.failures[replica] = failure;
    if (failure !== FAILURE_REBUILD) this.lastFailure = failure;
    const home = Atomics.compareExchange(words, STREAMS_HOME >> 2, replica, -1) === replica;
    if (home) {
      Atomics.add(words, STREAMS_EPOCH >> 2, 1);
      this.lostHomeAt = performance.now();
    }
    if (this.heir === replica) this.heir = -1;
    wakeEverybody(streams);
    this.tell({ type: 'lost', replica, home, reason: FAILURE_REASONS[failure] ?? String(failure) });
    this.clearing[replica] = this.clear(replica);
    void this.clearing[replica].then(() => this.settle());
  }

  /** Ends a lost replica's threads and mends what they left. */
  private async clear(replica: number): Promise<void> {
    const { executors } = this.streams.shape;
    const members = this.members[replica];
    await Promise.all(members.map(({ thread }) => thread.terminate()));
    await Promise.all(members.map(({ ended }) => ended));
    for (let thread = 0; thread < executors; thread++) {
      while (!mendLock(this.streams, HOLDER_BASE + replica * executors + thread)) await sleep(1);
    }
    mendLog(this.streams, replica);
    endStanding(this.streams, replica);
    // Also those whom it was about to wake.
    wakeEverybody(this.streams);
  }

  /** Names the next home replica if there is none, and has lost replicas rebuilt. */
  private settle(): void {
    const { words } = this;
    if (!this.open) return;
    const ready = Atomics.load(words, STREAMS_READY >> 2);
    if (ready === 0) {
      // One that is being loaded may still save the store.
      const loading = this.rebuilding >= 0 && Atomics.load(words, CUT_REACHED >> 2) === this.cut;
      if (loading && this.isSet(STREAMS_ALIVE, this.rebuilding)) return;
      this.fail(this.failures.includes(FAILURE_MEMORY) ? FAILURE_MEMORY : this.lastFailure);
      return;
    }
    if (Atomics.load(words, STREAMS_HOME >> 2) === -1 && this.heir === -1) {
      this.heir = 31 - Math.clz32(ready & -ready);
      void this.takeOver(this.heir);
    }
    this.rebuildLoop ??= this.rebuildLost().finally(() => {
      this.rebuildLoop = undefined;
    });
  }

  /** The store cannot go on. */
  private fail(failure: number): void {
    if (!this.open) return;
    failStreams(this.streams, failure);
    this.tell({ type: 'failed', reason: FAILURE_REASONS[failure] ?? String(failure) });
  }

  /** Makes a replica home, at a place in the order. The lost one's threads have ended. */
  private async takeOver(replica: number): Promise<void> {
    const { words } = this;
    // It may have to cut the stream into batches before it gets the command.
    Atomics.store(words, STREAMS_CUTTER >> 2, replica);
    wakeEverybody(this.streams);
    await this.control(OP_TAKEOVER, replica);
    while (this.open && this.heir === replica && Atomics.load(words, STREAMS_HOME >> 2) === -1) await sleep(1);
    if (this.heir !== replica || Atomics.load(words, STREAMS_HOME >> 2) !== replica) return;
    this.heir = -1;
    const pauseMs = performance.now() - this.lostHomeAt;
    const pause = Math.round(pauseMs * 1000);
    Atomics.add(words, STREAMS_FAILOVERS >> 2, 1);
    words[STREAMS_PAUSE >> 2] = pause;
    words[STREAMS_LONGEST_PAUSE >> 2] = Math.max(pause, words[STREAMS_LONGEST_PAUSE >> 2]);
    this.tell({ type: 'failover', replica, pauseMs });
  }

  /**
   * Appends a control command.
   * @returns its number in the order; 0 if the store is closing.
   */
  private async control(op: number, key: number, high = 0, value = [0, 0]): Promise<number> {
    const { record, recordWords } = this;
    for (;;) {
      if (!this.open) return 0;
      recordWords.fill(0);
      recordWords[OPERATION_CODE >> 2] = op | (1 << 16);
      recordWords[OPERATION_KEY >> 2] = key;
      recordWords[(OPERATION_KEY + 4) >> 2] = high;
      recordWords.set(value, OPERATION_VALUE >> 2);
      const number = this.multicast.tryControl(record, recordWords);
      if (number !== 0) return number;
      await sleep(1);
    }
  }

  // --- rebuild ------------------------------------------------------------------------------------------------------

  private async rebuildLost(): Promise<void> {
    const { shape } = this.streams;
    if (!this.config.rebuild) return;
    for (let again = true; again && this.open; ) {
      again = false;
      // The lost home replica's tree is not touched before there is another one.
      while (this.open && Atomics.load(this.words, STREAMS_HOME >> 2) === -1) {
        if (Atomics.load(this.words, STREAMS_READY >> 2) === 0) return;
        await sleep(1);
      }
      for (let replica = 0; replica < shape.replicas && this.open; replica++) {
        if (this.isSet(STREAMS_ALIVE, replica) || (this.tries[replica] ?? 0) >= REBUILD_TRIES) continue;
        if (Atomics.load(this.words, STREAMS_READY >> 2) === 0) return;
        again = true;
        await this.clearing[replica];
        const began = performance.now();
        try {
          const from = await this.rebuild(replica);
          if (from < 0) continue;
          this.tries[replica] = 0;
          Atomics.add(this.words, STREAMS_REBUILDS >> 2, 1);
          this.tell({ type: 'rebuilt', replica, from, ms: performance.now() - began });
        } catch (error) {
          // That somebody was lost meanwhile says nothing about the next try.
          if (!(error instanceof Interrupted)) this.tries[replica] = (this.tries[replica] ?? 0) + 1;
          const reason = error instanceof Error ? error.message : String(error);
          const final = (this.tries[replica] ?? 0) >= REBUILD_TRIES;
          this.tell({ type: 'rebuild-failed', replica, reason, final });
          this.lose(replica, FAILURE_REBUILD);
          // Threads that failed to start are not a lost replica yet.
          await this.clear(replica);
          await sleep(100 * (this.tries[replica] ?? 0));
        } finally {
          this.rebuilding = -1;
        }
        this.settle();
      }
    }
  }

  /** Rebuilds one replica. @returns from which one; -1 if the store is closing. @throws why it could not be done */
  private async rebuild(replica: number): Promise<number> {
    const { words, streams, config } = this;
    const { executors } = streams.shape;
    const own = (thread: number, word: number) => (streams.executor(replica, thread) + word) >> 2;
    const threads = Array.from({ length: executors }, (_, thread) => words[own(thread, EXECUTOR_TREE_THREAD)]);
    // Direct reads keep to the last home replica's tree only as long as it is one.
    Atomics.compareExchange(words, STREAMS_LAST_HOME >> 2, replica, -1);
    resetTree(config.memories[replica], threads);
    for (let thread = 0; thread < executors; thread++) {
      for (const word of [EXECUTOR_PARKED, EXECUTOR_STANDING, EXECUTOR_AREA, EXECUTOR_RELEASED, EXECUTOR_KEPT]) {
        Atomics.store(words, own(thread, word), 0);
      }
      Atomics.store(words, own(thread, EXECUTOR_TREE_THREAD), 0);
    }
    const source = this.sourceFor(replica);
    const number = ++this.cut;
    this.rebuilding = replica;
    this.startReplica(replica, { number, source: config.memories[source] });
    await Promise.all(this.members[replica].map(({ ready }) => ready));
    if (!this.open) return -1;
    words[CUT_SOURCE >> 2] = source;
    words[CUT_TARGET >> 2] = replica;
    Atomics.store(words, CUT_NUMBER >> 2, number);
    const generation = Atomics.add(words, (GENERATIONS >> 2) + replica, 1) + 1;
    this.gate(replica);
    await this.control(OP_CUT, source, number, [replica, generation]);
    for (const member of this.members[replica]) member.run();
    for (;;) {
      if (!this.open) return -1;
      // Also if it is loaded by now: a lost replica must not be taken for a ready one.
      if (!this.isSet(STREAMS_ALIVE, replica)) throw new Interrupted('it was lost again while it was loaded');
      if (Atomics.load(words, CUT_LOADED >> 2) === number) break;
      const reached = Atomics.load(words, CUT_REACHED >> 2) === number;
      if (!reached && !this.isSet(STREAMS_ALIVE, source)) throw new Interrupted('the replica to be copied was lost');
      await sleep(1);
    }
    // What was copied may have been wrong already.
    const wrong = !this.isSet(STREAMS_ALIVE, source) && this.failures[source] === FAILURE_DIVERGED;
    if (wrong) throw new Interrupted('the replica that was copied had other content than the others');
    Atomics.or(words, STREAMS_READY >> 2, 1 << replica);
    return source;
  }

  /** Another replica than the home one where there is a choice: it stands still while it is copied. */
  private sourceFor(replica: number): number {
    const { words, streams } = this;
    const home = Atomics.load(words, STREAMS_HOME >> 2);
    // The replicas differ, and what was answered is the home one's.
    if (replica < 0 && streams.state === STATE_READ_ONLY && home >= 0) return home;
    let source = -1;
    for (let other = 0; other < streams.shape.replicas; other++) {
      if (other !== replica && this.isSet(STREAMS_READY, other) && (source === -1 || other !== home)) source = other;
    }
    if (source === -1) throw new Interrupted('there is no replica to copy');
    return source;
  }

  /**
   * Lets a replica's readers gate the writers again, from here on. A writer that has looked at the readers before the bit
   * is set lets others write up to what was the slowest reader's position then; that is not beyond what is claimed once
   * the bit is set, where the cursors are put in the end. (GroupRing.slowest looks again if the bits have changed.)
   */
  private gate(replica: number): void {
    const { words, streams } = this;
    const { groups } = streams.shape;
    const put = () => {
      for (let group = 0; group < groups; group++) {
        const claimed = Atomics.load(words, (streams.ring(group) + RING_CLAIM) >> 2);
        Atomics.store(words, streams.ringCursor(group, replica), claimed);
      }
    };
    const taken = (streams.verifyAt + VERIFY_TAKEN + replica * 64) >> 2;
    Atomics.store(words, taken, Atomics.load(words, (streams.verifyAt + VERIFY_MADE) >> 2));
    put();
    Atomics.or(words, STREAMS_ALIVE >> 2, 1 << replica);
    put();
    Atomics.store(words, taken, Atomics.load(words, (streams.verifyAt + VERIFY_MADE) >> 2));
  }

  // --- watching -----------------------------------------------------------------------------------------------------

  private tick(): void {
    if (!this.open) return;
    const { replicas } = this.streams.shape;
    for (let replica = 0; replica < replicas; replica++) {
      if (this.isSet(STREAMS_READY, replica) && this.stalls(replica)) this.lose(replica, FAILURE_STALLED);
    }
    const now = performance.now();
    if (now - this.clientTick >= CLIENT_TICK) {
      this.clientTick = now;
      this.lookAfterClients(now);
    }
    this.sweeper.step();
    const { compareEvery } = this.config;
    this.keeper.tick(now);
    if (compareEvery > 0 && !this.comparing && now - this.comparedAt >= compareEvery) {
      this.comparing = true;
      void this.compare().finally(() => {
        this.comparing = false;
        this.comparedAt = performance.now();
      });
    }
  }

  /**
   * Whether a replica has made no progress for too long: a thread neither sleeps nor moves, or there is something to read,
   * one sleeps, and none moves. (While one carries out slow commands, others may have nothing to do for as long as it takes.)
   * Time is counted in ticks: while the whole process stands still, none go by.
   */
  private stalls(replica: number): boolean {
    const { words, streams } = this;
    // It stands still for a copy.
    const cut = Atomics.load(words, CUT_NUMBER >> 2);
    const copied = Atomics.load(words, CUT_REACHED >> 2) === cut && Atomics.load(words, CUT_COPIED >> 2) !== cut;
    if ((copied && words[CUT_SOURCE >> 2] === replica) || this.keeper.isCopied(replica)) return false;
    if (waitsForWatcher(streams) || standsForReader(streams)) {
      for (const watch of this.watches[replica]) watch.ticks = 0;
      return false;
    }
    let cursors = 0;
    let pending = false;
    for (let group = 0; group < streams.shape.groups; group++) {
      const cursor = Atomics.load(words, streams.ringCursor(group, replica));
      cursors = (cursors + cursor) | 0;
      if (this.multicast.rings[group].isPublished(cursor) && streams.isReleased(group, cursor)) pending = true;
    }
    const watches = this.watches[replica];
    const moved = watches.map((watch, thread) => {
      const own = streams.executor(replica, thread);
      const beat = Atomics.load(words, (own + EXECUTOR_BEAT) >> 2);
      const commands = new Float64Array(streams.memory, own + EXECUTOR_COUNTERS, 1)[COUNTER_COMMANDS];
      const moves = beat !== watch.beat || cursors + commands !== watch.cursors;
      watch.beat = beat;
      watch.cursors = cursors + commands;
      return moves;
    });
    const idle = !pending || moved.includes(true);
    for (const [thread, watch] of watches.entries()) {
      const parked = Atomics.load(words, (streams.executor(replica, thread) + EXECUTOR_PARKED) >> 2) === 1;
      watch.ticks = moved[thread] || (parked && idle) ? 0 : watch.ticks + 1;
    }
    return watches.some(({ ticks }) => ticks * TICK >= this.config.stallTimeout);
  }

  /** Takes back the slots of clients whose threads are gone. */
  private lookAfterClients(now: number): void {
    const { words, streams } = this;
    for (let client = 0; client < streams.shape.clients; client++) {
      const base = streams.client(client);
      const state = Atomics.load(words, (base + CLIENT_STATE) >> 2);
      ifGone(streams, client, false, () => this.reap(client));
      if (state !== CLIENT_LEAVING) {
        this.fenced.delete(client);
        continue;
      }
      // Its lock and claims are mended first: nothing behind them is executed before.
      if (!this.mend(client)) continue;
      const since = this.fenced.get(client);
      if (since !== undefined && now - since < FENCE_AGAIN) continue;
      this.fenced.set(client, now);
      void this.control(OP_FENCE, client);
    }
  }

  private mend(client: number): boolean {
    return mendLock(this.streams, client + 1) && mendClaim(this.streams, client);
  }

  /** Somebody says that a client's thread is gone; where its thread is known to live, it is another one's by now. */
  clientExited(client: number): void {
    ifGone(this.streams, client, true, () => this.reap(client));
  }

  /** A client's thread is gone: whatever it held is given back, and its slot once all it sent has been executed. */
  private reap(client: number): void {
    const { words, streams, config } = this;
    const base = streams.client(client);
    if (Atomics.compareExchange(words, (base + CLIENT_STATE) >> 2, CLIENT_USED, CLIENT_LEAVING) !== CLIENT_USED) return;
    Atomics.store(words, (base + CLIENT_THREAD) >> 2, 0);
    for (let replica = 0; replica < streams.shape.replicas; replica++) {
      const at = base + CLIENT_TREE_THREADS + replica;
      const thread = streams.bytes[at];
      streams.bytes[at] = 0;
      if (thread !== 0) freeReader(config.memories[replica], thread, client);
    }
    freeWatchersOf(streams, client);
    this.mend(client);
    // It may have died between taking a reader's bit and waking it: nobody else would.
    wakeEverybody(streams);
    Atomics.add(words, STREAMS_REAPED >> 2, 1);
    this.tell({ type: 'client-lost', client });
  }

  // --- comparison ---------------------------------------------------------------------------------------------------

  /** Has the replicas' contents compared at one place of the order, if anything was written since the last time. */
  private async compare(): Promise<void> {
    const { words, streams } = this;
    const { replicas, groups } = streams.shape;
    let claims = 0;
    for (let group = 0; group < groups; group++) {
      claims = (claims + Atomics.load(words, (streams.ring(group) + RING_CLAIM) >> 2)) | 0;
    }
    const bits = Atomics.load(words, STREAMS_READY >> 2);
    if (claims === this.comparedClaims || (bits & (bits - 1)) === 0 || streams.state !== STATE_OPEN) return;
    const tag = ++this.comparison;
    const generations = Array.from({ length: replicas }, (_, replica) => streams.generation(replica));
    const position = await this.control(OP_COMPARE, tag);
    this.comparedClaims = (claims + groups) | 0;
    const found = new Map<string, number[]>();
    for (let replica = 0; replica < replicas; replica++) {
      const base = streams.executor(replica, 0) >> 2;
      const there = () => Atomics.load(words, base + (EXECUTOR_COMPARE_NUMBER >> 2)) === tag;
      // One that was lost and rebuilt has no part in it.
      const lives = () => this.isSet(STREAMS_READY, replica) && streams.generation(replica) === generations[replica];
      while (this.open && ((bits >>> replica) & 1) === 1 && lives() && !there()) await sleep(2);
      if (!there() || !lives()) continue;
      const content = [EXECUTOR_COMPARE_LOW, EXECUTOR_COMPARE_HIGH, EXECUTOR_COMPARE_COUNT].map(
        (at) => words[base + (at >> 2)],
      );
      const name = content.join();
      found.set(name, [...(found.get(name) ?? []), replica]);
    }
    if (found.size <= 1) {
      Atomics.add(words, STREAMS_COMPARED >> 2, 1);
      return;
    }
    this.diverged(
      position,
      [...found.values()].sort((a, b) => b.length - a.length),
    );
  }

  /** The replicas differ. A majority decides who is wrong; without one nobody can, and the store becomes read-only. */
  private diverged(position: number, camps: readonly (readonly number[])[]): void {
    const { words } = this;
    Atomics.compareExchange(words, STREAMS_DIVERGED >> 2, 0, position);
    const members = camps.reduce((sum, camp) => sum + camp.length, 0);
    const readOnly = camps[0].length * 2 <= members;
    if (readOnly) Atomics.compareExchange(words, STREAMS_STATE >> 2, STATE_OPEN, STATE_READ_ONLY);
    this.tell({ type: 'diverged', position, readOnly });
    if (!readOnly) for (const replica of camps.slice(1).flat()) this.lose(replica, FAILURE_DIVERGED);
    else wakeEverybody(this.streams);
  }
}

function failureCode({ code }: Failure): number {
  if (code === 'ERR_MEMORY_EXHAUSTED') return FAILURE_MEMORY;
  if (code === 'ERR_LATCH_LOST') return FAILURE_LATCH;
  return code === 'ENDED' ? FAILURE_TERMINATED : FAILURE_EXECUTOR;
}
