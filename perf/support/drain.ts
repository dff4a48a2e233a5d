/**
 * Drains: rings are filled while the executors stand still, then the executors are started and work with no client
 * running. Afterwards the content is compared with what the commands say.
 */
import { type ModelName, SharedTree } from '../../index.ts';
import type { Client, Sink } from '../../workers/client.ts';
import type { MixerName } from '../../workers/models/model.ts';
import { openStopped } from '../../workers/store.ts';
import type { StoreHandle } from '../../workers/store-client.ts';
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
  /** Share of a leaf's places that are filled at the beginning; 0.7 if it is not given. */
  readonly fill?: number;
}

/** What came out. */
export interface Drained {
  /** Commands a second, from the moment the threads were told to begin: it includes a millisecond or two of starting. */
  readonly perSecond: number;
  /** The same over the second half of the commands: by then compilers and caches are warm. */
  readonly steady: number;
  readonly stats: { refused: number; deferred: number; retried: number; syncPoints: number; parks: number };
}

/** Share of the commands that `steady` leaves out. */
export const WARM_UP = 0.5;

/** Answers go nowhere. */
const NOBODY: Sink = { settle() {}, refuse() {} };
/** Milliseconds that a drain may take. */
const LIMIT = 60_000;
const pause = new Int32Array(new SharedArrayBuffer(4));

/** A store with filled rings whose executors stand still. */
export class FilledStore {
  private readonly plan: DrainPlan;
  private readonly opened: Awaited<ReturnType<typeof openStopped<'u32', 'f64'>>>;
  private readonly total: number;
  private began = 0;
  private warm: { at: number; commands: number } | undefined;
  private ended = 0;

  private constructor(plan: DrainPlan, opened: Awaited<ReturnType<typeof openStopped<'u32', 'f64'>>>) {
    this.plan = plan;
    this.opened = opened;
    this.total = plan.commands.ops.length;
  }

  /** @throws if the rings are too small. */
  static async open(plan: DrainPlan): Promise<FilledStore> {
    const { model, executors, ring, mixer, fanout, wait } = plan;
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
    const { commands, model } = this.plan;
    // Directly, while nobody else works.
    const { layout, memories, key, value } = store.handle;
    const tree = SharedTree.attach<number, number>({ sabtree: 'tree', layout, memory: memories[0], key, value });
    tree.bulkLoad(commands.before, this.plan.fill ?? 0.7);
    tree.close();
    const client = store.client as unknown as Client;
    const { ops, keys, values, expected } = commands;
    for (let i = 0; i < ops.length; i++) {
      const call = {
        op: ops[i],
        key: keys[i],
        value: values[i],
        expected: expected[i],
        range: undefined,
        sink: NOBODY,
        index: 0,
      };
      if (!client.post(call)) throw new Error(`${model}: the rings are too small`);
    }
    if (!client.flushPosted()) throw new Error(`${model}: the rings are too small`);
  }

  /** What other threads attach with. */
  get handle(): StoreHandle {
    return this.opened.store.handle;
  }

  start(): void {
    this.began = performance.now();
    this.opened.start();
  }

  /** Looks how far the executors are; true when they are done. @throws if they take too long. */
  look(): boolean {
    const { commands } = this.opened.store.stats();
    const now = performance.now();
    if (this.warm === undefined && commands >= WARM_UP * this.total) this.warm = { at: now, commands };
    if (commands >= this.total) {
      this.ended ||= now;
      return true;
    }
    if (now - this.began > LIMIT) throw new Error(`${this.plan.model}: did not end`);
    return false;
  }

  /** Closes; what was measured. @throws if the content is not what the commands say. */
  async finish(): Promise<Drained> {
    const { total, began, ended, warm } = this;
    const { store } = this.opened;
    const { model, commands } = this.plan;
    const { refused, deferred, retried, syncPoints, perExecutor } = store.stats();
    const parks = perExecutor.reduce((sum, one) => sum + one.parks, 0);
    (store.client as unknown as Client).forget();
    const difference = firstDifference(store, commands.after);
    if (difference !== undefined) throw new Error(`${model}: ${difference}`);
    store.tree.check();
    const { at, commands: done } = warm ?? { at: began, commands: 0 };
    return {
      perSecond: (total / (ended - began)) * 1000,
      // A short drain may be over when it is looked at for the first time.
      steady: done === total ? (total / (ended - began)) * 1000 : ((total - done) / (ended - at)) * 1000,
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
      Atomics.wait(pause, 0, 0, 0.2);
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
