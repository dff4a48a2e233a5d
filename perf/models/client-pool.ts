/** The client threads as the main thread sees them. They live through the whole experiment. */
import { Worker } from 'node:worker_threads';
import { type Endpoint, type Remote, wrap } from 'comlink';
// @ts-expect-error: comlink ships this adapter without types
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import type { CellClient } from './client-thread.ts';

/** One thread, and what tells that it has died: its comlink calls would then never settle. */
class ClientThread {
  readonly remote: Remote<CellClient>;
  readonly died: Promise<never>;
  private readonly worker = new Worker(new URL('./client-thread.js', import.meta.url));

  constructor() {
    this.remote = wrap<CellClient>(nodeEndpoint(this.worker) as Endpoint);
    this.died = new Promise((_, reject) => {
      this.worker.on('error', reject);
      this.worker.on('exit', (code) => reject(new Error(`a client thread ended with exit code ${code}`)));
    });
    // Nobody may be waiting just then, and `end` is such an end too.
    this.died.catch(() => {});
  }

  async end(): Promise<void> {
    await this.worker.terminate();
  }
}

export class ClientPool {
  private readonly threads: readonly ClientThread[];

  constructor(clients: number) {
    this.threads = Array.from({ length: clients }, () => new ClientThread());
  }

  /** Gives all threads an order; resolves with their answers. Rejects when one dies, or after `limit` seconds. */
  async all<T>(limit: number, order: (remote: Remote<CellClient>, client: number) => Promise<T>): Promise<T[]> {
    const answers = Promise.all(
      this.threads.map(({ remote, died }, client) => Promise.race([order(remote, client), died])),
    );
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the clients did not answer within ${limit} seconds`)), limit * 1000);
    });
    try {
      return await Promise.race([answers, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends all threads, whatever they do. */
  async end(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.end()));
  }
}
