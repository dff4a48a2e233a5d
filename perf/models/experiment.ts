/**
 * Measures points one after the other. The stores of all models stand side by side, and the models take turns, in an order
 * that changes from round to round; executors of the stores whose turn it is not sleep.
 *
 *   round 0 (forgotten)  smr, check   psmr, check   opt-psmr, check
 *   round 1              smr, check   opt-psmr, check   psmr, check
 *   round 2              ...
 */
import { availableParallelism, freemem } from 'node:os';
import { type ModelName, open, SabtreeError, type Store } from '../../index.ts';
import { percentiles } from '../support/latencies.ts';
import { spread } from '../support/measure.ts';
import { describePoint, type ExperimentPlan, type Point } from './cells.ts';
import { ClientPool } from './client-pool.ts';
import { type Book, emptyBook } from './command-source.ts';
import type { Cell, CellPlan } from './types.ts';
import { verify } from './verify.ts';
import { type Mix, slotsFor, workloadOf } from './workloads.ts';

/** Seconds that clients may take to preload. */
const PRELOAD_LIMIT = 600;
/** Seconds that a run may last longer than it should. */
const RUN_GRACE = 60;
/** Share of a run's length that the run before the others has. */
const WARM_UP = 0.5;
/** Bytes of a tree for every key it may have, generously. */
const BYTES_PER_KEY = 64;
const LEAST_MEMORY = 16 * 2 ** 20;
const MOST_MEMORY = 2 ** 32;

/** Watches an experiment. */
export interface Observer {
  /** Ends the experiment before the next step, by throwing its reason. */
  readonly signal?: AbortSignal;
  /** A step has ended, of all that `stepsOf` counts. */
  step?(steps: number, cell: CellPlan): void;
  /** This model cannot be measured at this point. */
  skipped?(cell: CellPlan, reason: string): void;
  /** A check of a cell failed. */
  wrong?(cell: CellPlan, problem: string): void;
  /** Called before the book is compared with the store. For tests: to plant a fault. */
  beforeVerify?(cell: CellPlan, book: Book): void;
}

/** Steps of one cell: its opening, and its runs. */
function stepsOfCell(plan: ExperimentPlan): number {
  return 1 + 1 + plan.runs;
}

/** Steps of the whole experiment. */
export function stepsOf(plan: ExperimentPlan): number {
  return plan.points.length * plan.models.length * stepsOfCell(plan);
}

/** What is counted in a run. */
interface Counts {
  commands: number;
  refused: number;
  deferred: number;
  retried: number;
  syncPoints: number;
  parks: number;
}

/** A model at a point, with its store. */
class Entrant {
  readonly rates: number[] = [];
  readonly counts: Counts = { commands: 0, refused: 0, deferred: 0, retried: 0, syncPoints: 0, parks: 0 };
  readonly problems: string[] = [];
  readonly id: number;
  readonly plan: CellPlan;
  readonly store: Store;
  readonly book: Book;

  constructor(id: number, plan: CellPlan, store: Store, book: Book) {
    this.id = id;
    this.plan = plan;
    this.store = store;
    this.book = book;
  }

  /** The home replica's counters since the store was opened. */
  counters(): Counts {
    const { commands, refused, deferred, retried, syncPoints, perExecutor, home } = this.store.stats();
    const parks = perExecutor.reduce((sum, one) => (one.replica === home ? sum + one.parks : sum), 0);
    return { commands, refused, deferred, retried, syncPoints, parks };
  }

  cell(latencies: readonly Float64Array[]): Cell {
    const { plan, rates, counts, problems } = this;
    // smr has one executor, however many are asked for.
    const { executors, replicas } = this.store.stats();
    return {
      ...plan,
      kind: 'clients',
      oversubscribed: executors * replicas + plan.clients > availableParallelism(),
      commandsPerSecond: rates.length === 0 ? { median: 0, min: 0, max: 0 } : spread(rates),
      latencyMs: percentiles(latencies),
      ...counts,
      verified: problems.length === 0,
    };
  }
}

export class Experiment {
  private readonly plan: ExperimentPlan;
  private readonly observer: Observer;
  private readonly pool: ClientPool;
  private readonly cells: Cell[] = [];
  private nextId = 0;

  private constructor(plan: ExperimentPlan, observer: Observer) {
    this.plan = plan;
    this.observer = observer;
    this.pool = new ClientPool(plan.clients);
  }

  /** Measures all points. @throws if a thread dies or hangs; the reason of an aborted signal. */
  static async run(plan: ExperimentPlan, observer: Observer = {}): Promise<Cell[]> {
    const experiment = new Experiment(plan, observer);
    try {
      for (const [turn, point] of plan.points.entries()) {
        for (const models of experiment.companies(point)) await experiment.measure(point, models, turn);
      }
      return experiment.cells;
    } finally {
      await experiment.pool.end();
    }
  }

  /** The models whose stores are open at the same time: all, unless half of the free memory is too little for that. */
  private companies(point: Point): ModelName[][] {
    const { models } = this.plan;
    const needed = models.length * point.replicas * this.slots(point) * BYTES_PER_KEY;
    const free = Math.min(freemem(), process.constrainedMemory?.() || Number.POSITIVE_INFINITY);
    return needed < free / 2 ? [[...models]] : models.map((model) => [model]);
  }

  private slots({ workload }: Point): number {
    const { entries, clients } = this.plan;
    return slotsFor(workloadOf(workload) as Mix, Math.ceil(entries / clients) * clients);
  }

  private async measure(point: Point, models: readonly ModelName[], turn: number): Promise<void> {
    const { observer, plan } = this;
    const entrants: Entrant[] = [];
    try {
      for (const model of models) {
        observer.signal?.throwIfAborted();
        const cell: CellPlan = { model, ...point, clients: plan.clients };
        const entrant = await this.open(cell);
        if (entrant !== undefined) entrants.push(entrant);
        observer.step?.(entrant === undefined ? stepsOfCell(plan) : 1, cell);
      }
      for (let round = 0; round <= plan.runs; round++) {
        for (let i = 0; i < entrants.length; i++) {
          observer.signal?.throwIfAborted();
          // Every other round backwards: else each model would always follow the same one.
          const place = round % 2 === 0 ? i : entrants.length - 1 - i;
          const entrant = entrants[(turn + round + place) % entrants.length];
          // What is wrong stays wrong.
          if (entrant.problems.length === 0) await this.run(entrant, round === 0);
          observer.step?.(1, entrant.plan);
        }
      }
      for (const entrant of entrants) {
        const latencies = await this.pool.all(RUN_GRACE, (remote) => remote.close(entrant.id));
        this.cells.push(entrant.cell(latencies));
      }
    } finally {
      for (const { store } of entrants) await store.close();
    }
  }

  /** Opens and preloads a store; undefined if the model refuses an option. */
  private async open(cell: CellPlan): Promise<Entrant | undefined> {
    const { pool, plan } = this;
    const slots = this.slots(cell);
    let store: Store;
    try {
      store = await open({
        key: 'u32',
        value: 'f64',
        model: cell.model,
        executors: cell.executors,
        replicas: cell.replicas,
        clients: cell.clients + 1,
        memory: Math.min(MOST_MEMORY, Math.max(LEAST_MEMORY, slots * BYTES_PER_KEY)),
        ...(cell.fanout === undefined ? {} : { fanout: cell.fanout }),
      });
    } catch (error) {
      if (!(error instanceof SabtreeError) || error.code !== 'ERR_OPTION') throw error;
      this.observer.skipped?.(cell, error.message);
      return undefined;
    }
    const entrant = new Entrant(this.nextId++, cell, store, emptyBook(slots));
    const { id, book } = entrant;
    const { entries, clients } = plan;
    try {
      const problems = await pool.all(PRELOAD_LIMIT, (remote, client) =>
        remote.open({
          id,
          plan: cell,
          handle: store.handle,
          share: { client, clients, entries: Math.ceil(entries / clients) * clients, seed: 1 + id },
          book,
        }),
      );
      for (const problem of problems) if (problem !== undefined) this.wrong(entrant, problem);
      return entrant;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** One run, and the checks after it. */
  private async run(entrant: Entrant, warmUp: boolean): Promise<void> {
    const { id, store, book, counts, rates } = entrant;
    const seconds = this.plan.seconds * (warmUp ? WARM_UP : 1);
    const start = new Int32Array(new SharedArrayBuffer(4));
    const before = entrant.counters();
    const runs = await this.pool.all(seconds + RUN_GRACE, (remote) => remote.run({ id, seconds, warmUp, start }));
    const after = entrant.counters();
    for (const { problem } of runs) if (problem !== undefined) this.wrong(entrant, problem);
    if (!warmUp) {
      const commands = runs.reduce((sum, run) => sum + run.commands, 0);
      const began = Math.min(...runs.map((run) => run.began));
      const ended = Math.max(...runs.map((run) => run.ended));
      rates.push((commands / (ended - began)) * 1e9);
      for (const name of Object.keys(counts) as (keyof Counts)[]) counts[name] += after[name] - before[name];
    }
    // A failed store cannot be asked, and what it holds is open.
    if (entrant.problems.length > 0) return;
    this.observer.beforeVerify?.(entrant.plan, book);
    for (const problem of await verify(store, book)) this.wrong(entrant, problem);
  }

  private wrong(entrant: Entrant, problem: string): void {
    entrant.problems.push(problem);
    this.observer.wrong?.(entrant.plan, problem);
  }
}

/** A cell's place in messages. */
export function describeCell(cell: CellPlan): string {
  return `${cell.model} at ${describePoint(cell)}`;
}
