/** The client threads as the main thread sees them: orders by comlink, and an end to waiting when no answer can come. */
import { Worker } from 'node:worker_threads';
import { type Endpoint, type Remote, wrap } from 'comlink';
// @ts-expect-error: comlink ships this adapter without types
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import { PROGRESS_SIZE, PROGRESS_STOP } from './client-progress.ts';
import type { LoadClient } from './load-client.ts';

/** Seconds without any progress after which the threads are given up. */
const STALL = 60;
/** Milliseconds that threads have to stop by themselves after an interrupt. */
const GRACE = 2000;

/** One thread, and what tells that it has died: its comlink calls would then never settle. */
class ClientThread {
  readonly remote: Remote<LoadClient>;
  readonly died: Promise<never>;
  private readonly worker = new Worker(new URL('./load-client.js', import.meta.url));

  constructor() {
    this.remote = wrap<LoadClient>(nodeEndpoint(this.worker) as Endpoint);
    this.died = new Promise((_, reject) => {
      this.worker.on('error', reject);
      this.worker.on('exit', (code) => reject(new Error(`a client thread ended with exit code ${code}`)));
    });
    // Nobody may be waiting just then, and `terminate` is such an end too.
    this.died.catch(() => {});
  }

  async terminate(): Promise<void> {
    await this.worker.terminate();
  }
}

/** All client threads of a run. */
export class ClientThreads {
  /** Counters of all threads; see client-progress. */
  readonly shared: SharedArrayBuffer;
  private readonly progress: Float64Array;
  private readonly threads: readonly ClientThread[];
  private readonly signal: AbortSignal;

  /** @param signal ends all waiting when it is aborted. */
  constructor(clients: number, signal: AbortSignal) {
    this.shared = new SharedArrayBuffer(clients * PROGRESS_SIZE * Float64Array.BYTES_PER_ELEMENT);
    this.progress = new Float64Array(this.shared);
    this.threads = Array.from({ length: clients }, () => new ClientThread());
    this.signal = signal;
  }

  /** A counter's sum over all threads. */
  sum(place: number): number {
    let total = 0;
    for (let i = place; i < this.progress.length; i += PROGRESS_SIZE) total += this.progress[i];
    return total;
  }

  /**
   * Gives all threads an order; resolves with their answers. Rejects when one fails or dies, when nothing has moved for
   * a minute, and some moments after an interrupt at the latest.
   */
  async all<T>(order: (remote: Remote<LoadClient>, client: number) => Promise<T>): Promise<T[]> {
    const { threads, signal } = this;
    signal.throwIfAborted();
    const answers = Promise.all(threads.map(({ remote, died }, client) => Promise.race([order(remote, client), died])));
    let stop = () => {};
    const givenUp = new Promise<never>((_, reject) => {
      let grace: ReturnType<typeof setTimeout> | undefined;
      const interrupt = () => {
        this.askToStop();
        grace = setTimeout(() => reject(signal.reason), GRACE);
      };
      signal.addEventListener('abort', interrupt);
      // Counted in ticks of a timer: a machine that slept has not stalled.
      let before = '';
      let idle = 0;
      const watch = setInterval(() => {
        const now = this.progress.join();
        idle = now === before ? idle + 1 : 0;
        before = now;
        if (idle === STALL) reject(new Error(`the client threads made no progress for ${STALL} seconds`));
      }, 1000);
      stop = () => {
        signal.removeEventListener('abort', interrupt);
        clearTimeout(grace);
        clearInterval(watch);
      };
    });
    try {
      const result = await Promise.race([answers, givenUp]);
      signal.throwIfAborted();
      return result;
    } finally {
      stop();
    }
  }

  /** Ends all threads, whatever they do. */
  async end(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.terminate()));
  }

  private askToStop(): void {
    for (let i = PROGRESS_STOP; i < this.progress.length; i += PROGRESS_SIZE) this.progress[i] = 1;
  }
}
