/** A store with a load on it: opened, described anew, paused, checked, ended. */
import { type ModelName, open, type Store, type StoreEvent } from 'sabtree';
import type { LoadMessage } from './load-worker.ts';
import {
  commandsOf,
  LEDGER_KEYS,
  LIFE_WORKS,
  type Load,
  ledgerKey,
  MOST_WORKERS,
  OWN_ANSWERED,
  OWN_LIFE,
  OWN_SENT,
  ownWord,
  STATE_END,
  STATE_PAUSE,
  STATE_RUN,
  WORD_LOAD,
  WORD_STATE,
  WORDS,
} from './loads.ts';

/** What the controls say. */
export interface Setup {
  readonly model: ModelName;
  readonly executors: number;
  readonly replicas: number;
  /** Threads that work with the store. */
  readonly workers: number;
  readonly load: Load;
}

/** What the ledger came to. */
export interface Audit {
  /** Entries that were answered, all in all. */
  readonly answered: number;
  /** Those of them that were looked up: the last ones of each worker. */
  readonly checked: number;
  /** Those that were not found. */
  readonly lost: number;
}

/** Memory of each replica. */
const MEMORY = '64MB';

/** A store, and the workers on it. */
export class Session {
  readonly store: Store;
  readonly setup: Setup;
  private readonly words = new Int32Array(new SharedArrayBuffer(WORDS * 4));
  private readonly threads: Worker[] = [];
  private readonly over: Promise<void>[] = [];
  private load: Load;
  private ended = false;

  private constructor(store: Store, setup: Setup) {
    this.store = store;
    this.setup = setup;
    this.load = setup.load;
  }

  /** Opens a store. `start` puts the load on it. */
  static async open(setup: Setup): Promise<Session> {
    const { model, executors, replicas } = setup;
    const store = await open({
      key: 'u32',
      value: 'f64',
      memory: MEMORY,
      model,
      executors,
      clients: MOST_WORKERS + 4,
      ...(model !== 'direct' && { replicas }),
      stallTimeout: 8000,
    });
    return new Session(store, setup);
  }

  /** Starts the load; its first worker fills the store. Resolves when all are at work. @param failed told of one that fails later */
  async start(failed: (message: string) => void): Promise<void> {
    const ready: Promise<void>[] = [];
    for (let worker = 0; worker < this.setup.workers; worker++) {
      const thread = new Worker(new URL('./load-worker.ts', import.meta.url), {
        type: 'module',
        name: `load ${worker}`,
      });
      this.threads.push(thread);
      let works = false;
      ready.push(
        new Promise((resolve, reject) => {
          thread.addEventListener('message', ({ data }) => {
            if (data.type === 'ready') {
              works = true;
              resolve();
            } else if (data.type === 'failed') {
              reject(new Error(data.message));
              if (works && !this.ended) failed(`${data.code ?? 'a worker'}: ${data.message}`);
            }
          });
          thread.addEventListener('error', ({ message }) => reject(new Error(message)));
        }),
      );
      this.over.push(
        new Promise((resolve) => {
          thread.addEventListener('message', ({ data }) => data.type === 'over' && resolve());
        }),
      );
      const begin: LoadMessage = {
        type: 'begin',
        handle: this.store.handle,
        words: this.words,
        worker,
        load: this.load,
      };
      thread.postMessage(begin);
    }
    await Promise.all(ready);
  }

  /** Has the workers do something else from now on. */
  describe(load: Load): void {
    this.load = load;
    for (const thread of this.threads) thread.postMessage({ type: 'load', load } satisfies LoadMessage);
    Atomics.add(this.words, WORD_LOAD, 1);
  }

  pause(): void {
    Atomics.store(this.words, WORD_STATE, STATE_PAUSE);
  }

  resume(): void {
    Atomics.store(this.words, WORD_STATE, STATE_RUN);
    Atomics.notify(this.words, WORD_STATE);
  }

  get paused(): boolean {
    return Atomics.load(this.words, WORD_STATE) === STATE_PAUSE;
  }

  /** Workers at work now. */
  get working(): number {
    return this.threads.filter((_, worker) => Atomics.load(this.words, ownWord(worker, OWN_LIFE)) === LIFE_WORKS)
      .length;
  }

  /** Commands that the workers have had answered. */
  get commands(): number {
    return this.threads.reduce((sum, _, worker) => sum + commandsOf(this.words, worker), 0);
  }

  /** Looks up what was answered, while the load goes on: each entry must be there, or a later one in its place. */
  audit(): Audit {
    let answered = 0;
    let checked = 0;
    let lost = 0;
    for (const worker of this.threads.keys()) {
      const count = Atomics.load(this.words, ownWord(worker, OWN_ANSWERED));
      answered += count;
      const found: [number, number][] = [];
      for (let n = Math.max(0, count - LEDGER_KEYS); n < count; n++) {
        found.push([n, this.store.tree.get(ledgerKey(worker, n)) ?? -1]);
      }
      const sent = Atomics.load(this.words, ownWord(worker, OWN_SENT));
      for (const [n, value] of found) {
        checked++;
        if (!(value >= n && value < sent)) lost++;
      }
    }
    return { answered, checked, lost };
  }

  /** Tells of what happens to the store. */
  onEvent(listener: (event: StoreEvent) => void): void {
    this.store.onEvent(listener);
  }

  /** Ends the workers, then the store. */
  async close(): Promise<void> {
    if (this.ended) return;
    this.ended = true;
    Atomics.store(this.words, WORD_STATE, STATE_END);
    Atomics.notify(this.words, WORD_STATE);
    const late = new Promise<void>((resolve) => setTimeout(resolve, 3000));
    await Promise.race([Promise.all(this.over), late]);
    for (const thread of this.threads) thread.terminate();
    await this.store.close();
  }
}
