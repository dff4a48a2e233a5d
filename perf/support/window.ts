/**
 * Counting windows: how much work do t threads do together in a given time? All of them stand ready before the clock
 * starts, and count what they did until it stops, so neither starting threads nor a slow last one is measured.
 *
 *   main      ready? ........ GO |<------- window ------->| STOP
 *   thread 1  ready, waiting ....| 256 operations, 256 ... | count
 *   thread 2  ready, waiting ....| 256 operations, 256 ... | count
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { TreeHandle } from '../../index.ts';

/** Words of the control memory; one counter per thread follows. */
export const GO = 0;
export const READY = 1;
/** Nobody ever wakes a sleeper here: the main thread waits on it to let time pass. */
const SLEEP = 2;
export const COUNTS = 16;
/** Counters stand a cache line apart. */
export const COUNT_STRIDE = 16;

/** Operations between two looks at the clock's flag. */
export const STEP = 256;

/** What a thread is to do. */
export type Work = 'get' | 'mixed';

export interface WindowJob {
  readonly control: Int32Array;
  readonly handle: TreeHandle;
  readonly keys: Uint32Array;
  readonly index: number;
}

/** Message that asks a thread to take part in one window. */
export interface WindowCall {
  readonly work: Work;
}

/** What came of a window. */
export interface WindowResult {
  /** Nanoseconds per operation, all threads together. */
  readonly each: number;
  /** How much of a processor each thread had on average, 0 to 1: less than 1 where others use the machine too. */
  readonly share: number;
}

/** Threads attached to one tree. */
export class WindowThreads {
  private readonly control: Int32Array;
  private readonly workers: readonly Worker[];

  private constructor(control: Int32Array, workers: readonly Worker[]) {
    this.control = control;
    this.workers = workers;
  }

  static async start(threads: number, handle: TreeHandle, keys: Uint32Array): Promise<WindowThreads> {
    const control = new Int32Array(new SharedArrayBuffer(4 * (COUNTS + threads * COUNT_STRIDE)));
    const workers = Array.from({ length: threads }, (_, index) => {
      const workerData: WindowJob = { control, handle, keys, index };
      return new Worker(new URL('./window-worker.js', import.meta.url), { workerData });
    });
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    return new WindowThreads(control, workers);
  }

  /** Lets the first `threads` of them work for `ms` milliseconds. */
  async window(threads: number, work: Work, ms: number): Promise<WindowResult> {
    const { control, workers } = this;
    Atomics.store(control, GO, 0);
    Atomics.store(control, READY, 0);
    const taking = workers.slice(0, threads);
    const ends = taking.map((worker) => once(worker, 'message'));
    for (const worker of taking) worker.postMessage({ work } satisfies WindowCall);
    while (Atomics.load(control, READY) < threads) Atomics.wait(control, SLEEP, 0, 1);
    const busy = process.cpuUsage();
    const start = process.hrtime.bigint();
    Atomics.store(control, GO, 1);
    Atomics.wait(control, SLEEP, 0, ms);
    Atomics.store(control, GO, 2);
    const time = Number(process.hrtime.bigint() - start);
    const { user, system } = process.cpuUsage(busy);
    for (const [problem] of await Promise.all(ends)) if (problem !== '') throw new Error(problem);
    let operations = 0;
    for (let i = 0; i < threads; i++) operations += Atomics.load(control, COUNTS + i * COUNT_STRIDE);
    return { each: time / operations, share: ((user + system) * 1000) / (time * threads) };
  }

  async stop(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }
}
