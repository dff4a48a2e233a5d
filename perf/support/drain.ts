/**
 * Drains: rings are filled while the executors stand still, then the executors are started and work with no client
 * running. Afterwards the content is compared with what the commands say.
 */
import { type ModelName, SharedTree } from '../../index.ts';
import { OP_COUNT } from '../../layout/operation.ts';
import { COUNTER_COMMANDS, COUNTERS, EXECUTOR_COUNTERS } from '../../layout/streams.ts';
import type { Client, Sink } from '../../workers/client.ts';
import type { MixerName } from '../../workers/models/model.ts';
import { openStopped } from '../../workers/store.ts';
import type { StoreHandle } from '../../workers/store-client.ts';
import { Streams } from '../../workers/streams.ts';
import type { WaitName } from '../../workers/waiting.ts';
import { firstDifference } from '../models/verify.ts';
import type { CommandList } from './draw.ts';

/** Slots of rings that hold so many commands of one group: a quarter is kept from one-group commands. */
export function ringFor(commands: number): number {
  let slots = 256;
  while (slots * 0.74 < commands + 64) slots *= 2;
  return slots;
}

/** What is drained, and by whom. */
export interface DrainPlan {
  readonly model: ModelName;
  readonly executors: number;
  readonly commands: CommandList;
  /** Slots of each ring, see `ringFor`. */
  readonly ring: number;
  readonly mixer?: MixerName;
  readonly wait?: WaitName;
  readonly fanout?: number;
  /** Neighbouring keys that share a group; 1 if it is not given. */
  readonly locality?: number;
  /** Share of a leaf's places that are filled at the beginning; 0.7 if it is not given. */
  readonly fill?: number;
  /**
   * Commands that only warm compilers and caches up; 0 if it is not given. Behind them all executors meet, at a count of
   * the entries, and begin together.
   */
  readonly warmUp?: number;
}

/** What came out. */
export interface Drained {
  /**
   * Commands a second behind the warm-up; without one, from the moment the threads were told to begin, which includes a
   * millisecond or two of starting.
   */
  readonly perSecond: number;
  readonly stats: { refused: number; deferred: number; retried: number; syncPoints: number; parks: number };
}

/** Answers go nowhere. */
const NOBODY: Sink = { settle() {}, refuse() {} };
/** Milliseconds that a drain may take. */
const LIMIT = 60_000;
/** Milliseconds between two looks at how far it is: when it matters, and when a look would only take a core away. */
const LOOK_OFTEN = 1;
const LOOK_SELDOM = 4;
const pause = new Int32Array(new SharedArrayBuffer(4));

/** A store with filled rings whose executors stand still. */
export class FilledStore {
  private readonly plan: DrainPlan;
  private readonly opened: Awaited<ReturnType<typeof openStopped<'u32', 'f64'>>>;
  /** Commands done, of each thread. */
  private readonly counters: readonly Float64Array[];
  /** Commands in the rings, and those before the ones that count. */
  private readonly total: number;
  private readonly warmUp: number;
  private done = 0;
  private told = 0;
  private looked = 0;
  private began = 0;
  private ended = 0;

  private constructor(plan: DrainPlan, opened: Awaited<ReturnType<typeof openStopped<'u32', 'f64'>>>) {
    const { commands, warmUp = 0 } = plan;
    this.plan = plan;
    this.opened = opened;
    const streams = Streams.attach(opened.store.handle.streams);
    this.counters = Array.from({ length: streams.shape.executors }, (_, thread) => {
      return new Float64Array(streams.memory, streams.executor(0, thread) + EXECUTOR_COUNTERS, COUNTERS);
    });
    this.warmUp = warmUp === 0 ? 0 : warmUp + 1;
    this.total = commands.ops.length + (warmUp === 0 ? 0 : 1);
  }

  /** @throws if the rings are too small. */
  static async open(plan: DrainPlan): Promise<FilledStore> {
    const { model, executors, ring, mixer, fanout, locality, wait } = plan;
    const opened = await openStopped({
      key: 'u32',
      value: 'f64',
      model,
      executors,
      replicas: 1,
      ring,
      clients: 2,
      memory: '1GB',
      ...(mixer === undefined ? {} : { mixer }),
      ...(wait === undefined ? {} : { wait }),
      ...(fanout === undefined ? {} : { fanout }),
      ...(locality === undefined ? {} : { locality }),
    });
    const filled = new FilledStore(plan, opened);
    try {
      filled.fill();
      return filled;
    } catch (error) {
      await opened.store.close();
      throw error;
    }
  }

  private fill(): void {
    const { store } = this.opened;
    const { commands, model, warmUp = 0 } = this.plan;
    // Directly, while nobody else works.
    const { layout, memories, key, value } = store.handle;
    const tree = SharedTree.attach<number, number>({ sabtree: 'tree', layout, memory: memories[0], key, value });
    tree.bulkLoad(commands.before, this.plan.fill ?? 0.7);
    tree.close();
    const client = store.client as unknown as Client;
    const { ops, keys, values, expected } = commands;
    const post = (call: { op: number; key: unknown; value: unknown; expected: unknown }) => {
      if (!client.post({ ...call, range: undefined, sink: NOBODY, index: 0 })) {
        throw new Error(`${model}: the rings are too small`);
      }
    };
    for (let i = 0; i < ops.length; i++) {
      if (i > 0 && i === warmUp) post({ op: OP_COUNT, key: undefined, value: undefined, expected: undefined });
      post({ op: ops[i], key: keys[i], value: values[i], expected: expected[i] });
    }
    if (!client.flushPosted()) throw new Error(`${model}: the rings are too small`);
  }

  /** What other threads attach with. */
  get handle(): StoreHandle {
    return this.opened.store.handle;
  }

  start(): void {
    this.told = performance.now();
    this.looked = this.told;
    if (this.warmUp === 0) this.began = this.told;
    this.opened.start();
  }

  /**
   * Looks how far the executors are; true when they are done. What counts is taken to last from the last look at which
   * the warm-up was not over until the first at which all is done: never shorter than it was, however late a look is.
   * @throws if they take too long.
   */
  look(): boolean {
    let commands = 0;
    for (const counters of this.counters) commands += counters[COUNTER_COMMANDS];
    this.done = commands;
    const now = performance.now();
    if (this.began === 0 && commands >= this.warmUp) this.began = this.looked;
    this.looked = now;
    if (commands >= this.total) {
      this.ended ||= now;
      return true;
    }
    if (now - this.told > LIMIT) throw new Error(`${this.plan.model}: did not end`);
    return false;
  }

  /** Milliseconds after which to look again. */
  get pause(): number {
    return this.began > 0 && this.done < 0.7 * this.total ? LOOK_SELDOM : LOOK_OFTEN;
  }

  /** Closes; what was measured. @throws if the content is not what the commands say. */
  async finish(): Promise<Drained> {
    const { total, warmUp, began, ended } = this;
    const { store } = this.opened;
    const { model, commands } = this.plan;
    const { refused, deferred, retried, syncPoints, perExecutor } = store.stats();
    const parks = perExecutor.reduce((sum, one) => sum + one.parks, 0);
    (store.client as unknown as Client).forget();
    const difference = firstDifference(store, commands.after);
    if (difference !== undefined) throw new Error(`${model}: ${difference}`);
    store.tree.check();
    return {
      perSecond: ((total - warmUp) / (ended - began)) * 1000,
      stats: { refused, deferred, retried, syncPoints, parks },
    };
  }

  close(): Promise<void> {
    return this.opened.store.close();
  }
}

/** Fills all stores, starts them together, and waits until all are done. @throws if a content is wrong. */
export async function drainTogether(plans: readonly DrainPlan[]): Promise<Drained[]> {
  const stores: FilledStore[] = [];
  try {
    for (const plan of plans) stores.push(await FilledStore.open(plan));
    for (const store of stores) store.start();
    let done = false;
    while (!done) {
      Atomics.wait(pause, 0, 0, Math.min(...stores.map((store) => store.pause)));
      done = true;
      for (const store of stores) if (!store.look()) done = false;
    }
    const results: Drained[] = [];
    for (const store of stores) results.push(await store.finish());
    return results;
  } finally {
    for (const store of stores) await store.close();
  }
}

/** One fill and one drain. @throws if the content is not that of sequential execution. */
export async function drain(plan: DrainPlan): Promise<Drained> {
  return (await drainTogether([plan]))[0];
}
