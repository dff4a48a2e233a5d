/** Real threads on one tree: they start together, end within a limit, and their failures are the test's. */
import { Worker } from 'node:worker_threads';
import type { TreeHandle } from '../../dist/index.js';
import { SEED } from './random.ts';

/** What one thread is to do; see tree-thread.mjs. */
export interface Task {
  readonly task: string;
  readonly args?: object;
}

export interface Failure {
  readonly message: string;
  readonly code?: string;
  readonly value?: unknown;
}

/** How a thread ended. */
export type Outcome = { readonly result: unknown } | { readonly failure: Failure } | { readonly terminated: true };

/** Words of `control`; see tree-thread.mjs. */
const START = 0;
const STOP = 1;

/** Nothing here takes longer unless it hangs. */
const LIMIT_MS = 20_000;

export interface CrewOptions {
  /** Words of the u32 records in the tree, if there are records. */
  readonly record?: number;
}

/** Threads attached to a tree, waiting for the start. */
export class Crew {
  /** The threads' ids in the tree. */
  readonly ids: number[] = [];
  private readonly workers: Worker[] = [];
  private readonly outcomes: Promise<Outcome>[] = [];
  private readonly control = new Int32Array(new SharedArrayBuffer(8));
  private readonly names: string;

  private constructor(names: string) {
    this.names = names;
  }

  /** Starts a thread for each task and waits until all of them are attached. */
  static async gather(handle: TreeHandle, tasks: readonly Task[], { record = 0 }: CrewOptions = {}): Promise<Crew> {
    const crew = new Crew(tasks.map(({ task }) => task).join(', '));
    const attached = tasks.map(({ task, args = {} }, id) => {
      const worker = new Worker(new URL('./tree-thread.mjs', import.meta.url), {
        workerData: { handle, task, args, id, threads: tasks.length, seed: SEED, control: crew.control, record },
      });
      crew.workers.push(worker);
      let ready: () => void;
      const arrival = new Promise<void>((resolve) => {
        ready = resolve;
      });
      crew.outcomes.push(
        new Promise((resolve, reject) => {
          worker.on('message', (message: { thread: number } & Outcome) => {
            if (message.thread !== undefined) {
              crew.ids[id] = message.thread;
              ready();
            } else resolve(message);
          });
          worker.on('error', reject);
          worker.on('exit', () => {
            ready();
            resolve({ terminated: true });
          });
        }),
      );
      return arrival;
    });
    await crew.inTime(Promise.all(attached));
    return crew;
  }

  private async inTime<T>(promise: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        for (const worker of this.workers) worker.terminate();
        reject(new Error(`the threads (${this.names}) hang: no end after ${LIMIT_MS} ms`));
      }, LIMIT_MS);
    });
    try {
      return await Promise.race([promise, limit]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Lets them go. */
  start(): void {
    Atomics.store(this.control, START, 1);
    Atomics.notify(this.control, START);
  }

  /** Asks those that run until stopped to end. */
  stop(): void {
    Atomics.store(this.control, STOP, 1);
  }

  /** Kills one of them, wherever it is; resolves when it is gone. */
  async kill(which: number): Promise<void> {
    await this.workers[which].terminate();
  }

  /** How each of them ended. */
  async ends(): Promise<Outcome[]> {
    const ends = await this.inTime(Promise.all(this.outcomes));
    await Promise.all(this.workers.map((worker) => worker.terminate()));
    return ends;
  }

  /** The results of the threads given (all by default); fails if one of them failed. */
  async results<T>(which?: readonly number[]): Promise<T[]> {
    const chosen = which ?? this.outcomes.map((_, i) => i);
    const ends = await this.inTime(Promise.all(chosen.map((i) => this.outcomes[i])));
    return ends.map((end) => {
      if ('failure' in end) throw new Error(`a thread failed: ${end.failure.message}`);
      if ('terminated' in end) throw new Error('a thread ended without a result');
      return end.result as T;
    });
  }
}

/** Runs the tasks, one thread each, and gives their results. */
export async function runThreads<T>(handle: TreeHandle, tasks: readonly Task[], options?: CrewOptions): Promise<T[]> {
  const crew = await Crew.gather(handle, tasks, options);
  crew.start();
  try {
    return await crew.results<T>();
  } finally {
    crew.stop();
    await crew.ends();
  }
}

/** Runs `writers` until all of `watchers` have their results. */
export async function runWatched<W, R>(
  handle: TreeHandle,
  writers: readonly Task[],
  watchers: readonly Task[],
  options?: CrewOptions,
): Promise<{ written: W[]; watched: R[] }> {
  const crew = await Crew.gather(handle, [...writers, ...watchers], options);
  crew.start();
  try {
    const watched = await crew.results<R>(watchers.map((_, i) => writers.length + i));
    crew.stop();
    return { watched, written: await crew.results<W>(writers.map((_, i) => i)) };
  } finally {
    crew.stop();
    await crew.ends();
  }
}
