/** A thread that works with the store as fast as it can: it connects by the store's handle, and blocks for its answers. */
import { type Command, connect, type StoreClient, type StoreHandle } from 'sabtree';
import {
  LIFE_OVER,
  LIFE_STANDS,
  LIFE_WORKS,
  type Load,
  ledgerKey,
  OWN_ANSWERED,
  OWN_COMMANDS,
  OWN_LIFE,
  OWN_SENT,
  ownWord,
  STATE_END,
  STATE_PAUSE,
  WORD_LOAD,
  WORD_STATE,
} from './loads.ts';

/** What the page sends: how to begin, later what to do otherwise. */
export type LoadMessage =
  | {
      readonly type: 'begin';
      readonly handle: StoreHandle;
      readonly words: Int32Array;
      readonly worker: number;
      readonly load: Load;
    }
  | { readonly type: 'load'; readonly load: Load };

let state = 0x9e3779b9;

/** xorshift32 (Marsaglia): 0 to 2^32 - 1. */
function random(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
}

/** Draws keys of a load. */
class Keys {
  private readonly load: Load;
  private next: number;

  constructor(load: Load, worker: number) {
    this.load = load;
    this.next = Math.floor((load.keys / 8) * worker);
  }

  draw(): number {
    const { spread, keys } = this.load;
    if (spread === 'sequential') {
      this.next = (this.next + 1) % keys;
      return this.next;
    }
    const uniform = random() / 4294967296;
    if (spread === 'uniform') return Math.floor(uniform * keys);
    if (spread === 'hot') {
      const hot = Math.max(1, Math.floor(keys / 100));
      return random() % 10 < 9 ? Math.floor(keys / 3) + Math.floor(uniform * hot) : Math.floor(uniform * keys);
    }
    // Rank r with a chance of about 1 / r; ranks are spread over the keys, so that the busy ones lie apart.
    const rank = Math.floor(keys ** uniform);
    return (Math.imul(rank, 0x9e3779b1) >>> 0) % keys;
  }
}

/** One command of a mix. */
function command(load: Load, keys: Keys): Command<number, number> {
  const key = keys.draw();
  const dice = random() % 100;
  switch (load.mix) {
    case 'reads':
      return dice < 95 ? ['get', key] : ['put', key, dice];
    case 'churn':
      return dice < 50 ? ['insert', key, dice] : ['delete', key];
    case 'ranges':
      if (dice < 2) return ['range', { gte: key, limit: 20 }];
      return dice < 60 ? ['get', key] : ['put', key, dice];
    default:
      return dice < 50 ? ['get', key] : ['put', key, dice];
  }
}

/** Works until it is told to end. */
async function work(client: StoreClient, words: Int32Array, worker: number, first: Load): Promise<void> {
  let load = first;
  let keys = new Keys(load, worker);
  let known = Atomics.load(words, WORD_LOAD);
  let told: Load | undefined;
  addEventListener('message', ({ data }: MessageEvent<LoadMessage>) => {
    if (data.type === 'load') told = data.load;
  });
  const own = (which: number) => ownWord(worker, which);
  let commands = 0;
  let entries = Atomics.load(words, own(OWN_SENT));
  const count = (done: number) => {
    commands += done;
    words[own(OWN_COMMANDS)] = commands | 0;
    words[own(OWN_COMMANDS) + 1] = Math.floor(commands / 4294967296);
  };
  for (;;) {
    const wanted = Atomics.load(words, WORD_STATE);
    if (wanted === STATE_END) return;
    if (wanted === STATE_PAUSE) {
      Atomics.store(words, own(OWN_LIFE), LIFE_STANDS);
      Atomics.wait(words, WORD_STATE, STATE_PAUSE, 200);
      continue;
    }
    if (Atomics.load(words, WORD_LOAD) !== known) {
      // A message is on its way: the event loop has to bring it.
      while (told === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
      load = told;
      told = undefined;
      known = Atomics.load(words, WORD_LOAD);
      keys = new Keys(load, worker);
    }
    Atomics.store(words, own(OWN_LIFE), LIFE_WORKS);
    // An entry of the ledger goes with every batch: known to be sent before, and to be answered behind.
    Atomics.store(words, own(OWN_SENT), entries + 1);
    const entry = ['put', ledgerKey(worker, entries), entries] as const;
    if (load.mix === 'atomic') {
      client.atomicSync([
        ['get', keys.draw()],
        ['put', keys.draw(), entries],
      ]);
      client.putSync(entry[1], entry[2]);
      count(3);
    } else if (load.batch === 1) {
      client.batchSync([command(load, keys)]);
      client.putSync(entry[1], entry[2]);
      count(2);
    } else {
      const some: Command<number, number>[] = [entry];
      while (some.length < load.batch) some.push(command(load, keys));
      client.batchSync(some);
      count(some.length);
    }
    Atomics.store(words, own(OWN_ANSWERED), ++entries);
  }
}

addEventListener('message', async ({ data }: MessageEvent<LoadMessage>) => {
  if (data.type !== 'begin') return;
  const { handle, words, worker, load } = data;
  state ^= Math.imul(worker + 1, 0x85ebca6b);
  try {
    const client = (await connect(handle)) as StoreClient;
    if (worker === 0) fill(client, load.keys);
    postMessage({ type: 'ready' });
    await work(client, words, worker, load);
    await client.close();
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    // The end of the store is no fault of this worker.
    if (code !== 'ERR_CLOSED') postMessage({ type: 'failed', code, message });
  }
  Atomics.store(words, ownWord(worker, OWN_LIFE), LIFE_OVER);
  postMessage({ type: 'over' });
});

/** Half of the keys are there from the start. */
function fill(client: StoreClient, keys: number): void {
  const even = Array.from({ length: keys >> 1 }, (_, i) => 2 * i);
  for (let at = 0; at < even.length; at += 1024) {
    const some = even.slice(at, at + 1024);
    client.putManySync(some, new Array<number>(some.length).fill(0));
  }
}
