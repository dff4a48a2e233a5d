/** One round of a chaos run: a store, its clients, and the kills; in the end everything is compared. */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { type ModelName, open, type Store, type StoreEvent } from '../../index.ts';
import type { Random } from '../workload.ts';
import { Books, FIRST_BALLAST, MOST_CLIENTS, type Violation } from './books.ts';
import type { ChaosOrders, ChaosReport } from './client-thread.ts';
import { Log } from './history.ts';

/** What a round is made of. */
export interface RoundPlan {
  readonly model: ModelName;
  readonly replicas: number;
  readonly executors: number;
  readonly fanout: number;
  readonly clients: number;
  readonly window: number;
  /** Entries besides those that the clients write. */
  readonly entries: number;
  readonly seconds: number;
  readonly history: boolean;
  /** Milliseconds between kills, on the average. */
  readonly every: number;
  /** Milliseconds after which waiting for anything is given up. */
  readonly patience: number;
}

/** What came out. */
export interface RoundResult {
  acknowledged: number;
  kills: { executors: number; replicas: number; clients: number };
  failovers: number;
  rebuilds: number;
  /** Milliseconds from a kill of the home replica's thread to the takeover. */
  pauses: number[];
  /** Milliseconds that rebuilds took. */
  rebuildMs: number[];
  resent: number;
  suppressed: number;
  clientsLost: number;
  /** Acknowledged commands and milliseconds, while all replicas were there, and while one was missing or rebuilt. */
  whole: { commands: number; ms: number };
  missing: { commands: number; ms: number };
  replicasEqual: boolean;
  violations: Violation[];
  /** What should not have happened otherwise: a client that got an error, something that hung. */
  troubles: string[];
  logs: Log[];
  /** The last things that happened, for a trouble's story. */
  story: string[];
}

/** Lines of the story that are kept. */
const STORY = 16;

class ChaosClient {
  readonly worker: Worker;
  readonly client: number;
  /** Resolves with the client's report; undefined if it was ended. */
  readonly report: Promise<ChaosReport | undefined>;
  readonly connected: Promise<unknown>;

  constructor(orders: ChaosOrders) {
    this.client = orders.client;
    this.worker = new Worker(new URL('./client-thread.js', import.meta.url), { workerData: orders });
    this.connected = once(this.worker, 'message');
    this.connected.catch(() => {});
    this.report = new Promise((resolve) => {
      this.worker.on('message', (message) => {
        if (message !== 'connected') resolve(message as ChaosReport);
      });
      this.worker.on('error', (error) => resolve({ violations: [], error: String(error) }));
      this.worker.on('exit', () => resolve(undefined));
    });
  }
}

async function within<T>(what: string, promise: Promise<T>, ms: number): Promise<T> {
  const end = new AbortController();
  const late = delay(ms, undefined, { signal: end.signal }).then(() => {
    throw new Error(`${what}: nothing within ${ms / 1000} s`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    end.abort();
  }
}

async function until(what: string, condition: () => boolean, ms: number): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${ms / 1000} s`);
    await delay(2);
  }
}

/** Runs one round. @param onProgress told of kills as they happen. */
export async function runRound(
  plan: RoundPlan,
  random: Random,
  signal: AbortSignal,
  onProgress: (result: Readonly<RoundResult>) => void,
): Promise<RoundResult> {
  const { model, replicas, executors, fanout, entries } = plan;
  const result: RoundResult = {
    acknowledged: 0,
    kills: { executors: 0, replicas: 0, clients: 0 },
    failovers: 0,
    rebuilds: 0,
    pauses: [],
    rebuildMs: [],
    resent: 0,
    suppressed: 0,
    clientsLost: 0,
    whole: { commands: 0, ms: 0 },
    missing: { commands: 0, ms: 0 },
    replicasEqual: false,
    violations: [],
    troubles: [],
    logs: [],
    story: [],
  };
  const store = await open({
    ...{
      key: 'u32',
      value: 'u32',
      model,
      replicas,
      executors,
      fanout,
      memory: '512MB',
      clients: 16,
      compareEvery: 250,
    },
  });
  const round = new Round(plan, random, store, result);
  try {
    await within('loading', store.putMany(ballast(entries), ballast(entries)), 4 * plan.patience);
    await round.play(signal, onProgress);
    await round.judge();
  } catch (error) {
    result.troubles.push(error instanceof Error ? error.message : String(error));
  } finally {
    await round.end();
  }
  return result;
}

function ballast(entries: number): Uint32Array {
  return Uint32Array.from({ length: entries }, (_, i) => FIRST_BALLAST + i * 3);
}

class Round {
  private readonly books = new Books();
  private readonly clients = new Set<ChaosClient>();
  private readonly reports: Promise<ChaosReport | undefined>[] = [];
  private made = 0;
  private killedAt = 0;
  private readonly plan: RoundPlan;
  private readonly random: Random;
  private readonly store: Store<number, number>;
  private readonly result: RoundResult;

  constructor(plan: RoundPlan, random: Random, store: Store<number, number>, result: RoundResult) {
    this.plan = plan;
    this.random = random;
    this.store = store;
    this.result = result;
    store.onEvent((event) => this.note(event));
  }

  private within<T>(what: string, promise: Promise<T>): Promise<T> {
    return within(what, promise, this.plan.patience);
  }

  private until(what: string, condition: () => boolean): Promise<void> {
    return until(what, condition, this.plan.patience);
  }

  /** Keeps the last lines of the story. */
  private tell(line: string): void {
    const { story } = this.result;
    story.push(`${(performance.now() / 1000).toFixed(3)} ${line}`);
    if (story.length > STORY) story.shift();
  }

  private note(event: StoreEvent): void {
    const { result } = this;
    this.tell(JSON.stringify(event));
    if (event.type === 'failover') result.pauses.push(performance.now() - this.killedAt);
    else if (event.type === 'rebuilt') result.rebuildMs.push(event.ms);
    else if (event.type === 'diverged')
      result.violations.push({ what: 'wrong', text: `the replicas differ at ${event.position}` });
    else if (event.type === 'failed') result.troubles.push(`the store failed: ${event.reason}`);
    else if (event.type === 'rebuild-failed' && event.final) {
      result.troubles.push(`replica ${event.replica} was given up: ${event.reason}`);
    }
  }

  private async addClient(): Promise<void> {
    const { plan, books, random, result, store } = this;
    if (this.made >= MOST_CLIENTS) return;
    const client = this.made++;
    const log = plan.history ? new Log() : undefined;
    if (log !== undefined) result.logs.push(log);
    const one = new ChaosClient({
      ...{ handle: store.handle, books: books.memory, log: log?.memory, client, window: plan.window },
      ...{ seed: random.below(1 << 30), how: client % 2 === 0 ? 'sync' : 'async' },
    });
    this.clients.add(one);
    this.reports.push(one.report);
    await this.within('a client connects', one.connected);
  }

  /** Kills until the time is over. */
  async play(signal: AbortSignal, onProgress: (result: Readonly<RoundResult>) => void): Promise<void> {
    const { plan, random, result, books, store } = this;
    for (let i = 0; i < plan.clients; i++) await this.addClient();
    const end = performance.now() + plan.seconds * 1000;
    let last = performance.now();
    let before = books.acknowledged;
    let next = last + random.below(2 * plan.every);
    while (performance.now() < end && !signal.aborted && result.troubles.length === 0) {
      await delay(10);
      const now = performance.now();
      const { replicas } = store.status();
      const whole = replicas.every(({ state }) => state === 'home' || state === 'ready');
      const bucket = whole ? result.whole : result.missing;
      result.acknowledged = books.acknowledged;
      bucket.commands += result.acknowledged - before;
      bucket.ms += now - last;
      before = result.acknowledged;
      last = now;
      if (now < next) continue;
      next = now + random.below(2 * plan.every);
      await this.kill();
      onProgress(result);
    }
  }

  private async kill(): Promise<void> {
    const { random, store, result, clients } = this;
    if (random.below(4) === 0 && clients.size > 0 && this.made < MOST_CLIENTS) {
      const victim = [...clients][random.below(clients.size)];
      clients.delete(victim);
      await victim.worker.terminate();
      result.kills.clients++;
      await this.addClient();
      return;
    }
    const { replicas, home } = store.status();
    const able = replicas.filter(({ state }) => state === 'home' || state === 'ready');
    // One has to be left; one that is being rebuilt may go as well.
    const victims = replicas.filter(({ state }) => state === 'rebuilding' || (state !== 'lost' && able.length > 1));
    if (victims.length === 0 || home === -1) return;
    const { replica, state } = victims[random.below(victims.length)];
    const whole = random.below(4) === 0;
    if (state === 'home') this.killedAt = performance.now();
    this.tell(`kill ${whole ? 'all' : 'a thread'} of replica ${replica}, which is ${state}`);
    await store.kill(replica, whole ? undefined : random.below(store.stats().threads));
    if (whole) result.kills.replicas++;
    else result.kills.executors++;
    // The books of kills and pauses stay simple: one loss at a time is seen before the next.
    await this.until('the loss is noticed', () => {
      const now = store.status().replicas[replica].state;
      return now === 'lost' || now === 'rebuilding' || state === 'rebuilding';
    });
    if (state === 'home') await this.until('another replica takes over', () => store.status().home !== -1);
  }

  /** Lets the clients come to their end, and compares everything. */
  async judge(): Promise<void> {
    const { books, store, result } = this;
    books.stop();
    for (const report of await this.within('the clients end', Promise.all(this.reports))) {
      result.violations.push(...(report?.violations ?? []));
      if (report?.error !== undefined) result.troubles.push(`a client got ${report.error}`);
    }
    await this.until('all replicas are back', () =>
      store.status().replicas.every(({ state }) => state === 'home' || state === 'ready'),
    );
    // Behind everything that ended clients left in the streams.
    const digests = await this.within('the digests', store.digests());
    result.replicasEqual =
      digests.length === this.plan.replicas && digests.every(({ digest }) => digest === digests[0].digest);
    result.violations.push(...books.judge(this.made, (key) => store.tree.get(key)));
    for (let replica = 0; replica < this.plan.replicas; replica++) {
      const { entries } = store.replica(replica).check();
      if (entries !== digests[0].entries) result.replicasEqual = false;
    }
    const first = FIRST_BALLAST;
    let kept = 0;
    store.tree.forRange({ gte: first }, (key, value) => {
      if (key === value) kept++;
    });
    if (kept !== this.plan.entries) {
      result.violations.push({
        what: 'lost',
        text: `${this.plan.entries - kept} entries that nobody touched are gone`,
      });
    }
    await this.until('slots of ended clients are free', () => store.status().clientsLost === result.kills.clients);
  }

  async end(): Promise<void> {
    const { store, result, books } = this;
    books.stop();
    result.acknowledged = books.acknowledged;
    const { failovers, rebuilds, resent, suppressed, clientsLost } = store.status();
    Object.assign(result, { failovers, rebuilds, resent, suppressed, clientsLost });
    await Promise.all([...this.clients].map(({ worker }) => worker.terminate()));
    const closed = store.close();
    try {
      await this.within('the store closes', closed);
    } catch (error) {
      result.troubles.push(String(error));
      // Whatever hangs, hangs no longer than the store lives.
      for (let replica = 0; replica < this.plan.replicas; replica++) await store.kill(replica);
      await closed;
    }
  }
}
