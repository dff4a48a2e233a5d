/** Clients that know every answer, for tests that take replicas away under them. */
import { type AnyStore, ClientThread, inTime } from './stores.ts';

/** Keys that all clients add to. */
const HOT = 4;
/** Own keys of each client. */
const SIZE = 64;

/** What a witness knows in the end; see client-thread.mjs. */
interface Testimony {
  readonly commands: number;
  readonly adds: readonly number[];
  readonly turns: readonly number[];
  readonly counters: readonly number[];
}

/** Clients in threads of their own that write until `end`, and check every answer. */
export class Witnesses {
  private readonly threads: readonly ClientThread<Testimony>[];
  private readonly stop = new Int32Array(new SharedArrayBuffer(4));

  private constructor(store: AnyStore, ways: readonly string[], direct: boolean) {
    const marks = new Int32Array(new SharedArrayBuffer(HOT << 17));
    this.threads = ways.map((how, client) => {
      const args = { client, how, stop: this.stop, marks, hot: HOT, size: SIZE, direct };
      return new ClientThread<Testimony>(store.handle, 'witness', args);
    });
  }

  /** @param direct whether they read directly too. */
  static async start(store: AnyStore, ways: readonly string[], { direct = true } = {}): Promise<Witnesses> {
    const witnesses = new Witnesses(store, ways, direct);
    await inTime('witnesses connect', Promise.all(witnesses.threads.map(({ connected }) => connected)));
    return witnesses;
  }

  /** Fails with what one of them has found wrong, if one has. */
  async check(): Promise<void> {
    const pending = Symbol();
    for (const { result } of this.threads) await Promise.race([result, Promise.resolve(pending)]);
  }

  /** How each of them ends that the store leaves without an answer: the error's message. */
  async failures(): Promise<string[]> {
    const ends = this.threads.map(({ result }) => result.then(() => 'no error', String));
    const failures = await inTime('witnesses end', Promise.all(ends));
    await Promise.all(this.threads.map(({ worker }) => worker.terminate()));
    return failures;
  }

  /**
   * Stops them, and compares the store's content with what they know. Nobody else writes these keys.
   * Those between the hot ones and the first client's are left aside.
   */
  async end(store: AnyStore): Promise<number> {
    Atomics.store(this.stop, 0, 1);
    const known = await inTime('witnesses end', Promise.all(this.threads.map(({ result }) => result)));
    await Promise.all(this.threads.map(({ worker }) => worker.terminate()));
    const wanted: [number, number][] = [];
    for (let key = 0; key < HOT; key++) {
      const sum = known.reduce((total, { adds }) => total + adds[key], 0);
      if (sum > 0) wanted.push([key, sum]);
    }
    for (const [client, { turns, counters }] of known.entries()) {
      const first = (client + 1) * 10_000;
      for (const [i, turn] of turns.entries()) if (turn % 2 === 1) wanted.push([first + i, turn]);
      for (const [i, counter] of counters.entries()) wanted.push([first + 5000 + i, counter]);
    }
    const last = (known.length + 1) * 10_000;
    const found = [...store.tree.range({ lt: last })].filter(
      ([key]) => (key as number) < HOT || (key as number) >= 10_000,
    );
    for (const [i, entry] of wanted.entries()) {
      if (String(found[i]) !== String(entry)) throw new Error(`found ${found[i]} instead of ${entry}`);
    }
    if (found.length !== wanted.length) throw new Error(`${found.length} entries instead of ${wanted.length}`);
    return known.reduce((sum, { commands }) => sum + commands, 0);
  }
}
