/** A client of a store in a thread of its own: one task, then its result. See stores.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { connect } from '../../dist/index.js';
import { faulty } from './faulty-client.mjs';
import { record } from './recorder.mjs';

const { handle, task, args, seed } = workerData;

let state = (seed ^ Math.imul((args.client ?? 0) + 1, 0x9e3779b1)) | 1;
function below(n) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % n;
}

/** A random command within a block of keys that no other client uses. */
function blockCommand(first, size) {
  const key = first + below(size);
  const value = below(5);
  const kind = below(16);
  if (kind < 5) return ['insert', key, value];
  if (kind < 9) return ['delete', key];
  if (kind < 10) return ['put', key, value];
  if (kind < 11) return ['update', key, value];
  if (kind < 12) return ['add', key, value];
  if (kind < 13) return ['compareAndSet', key, value, below(5)];
  if (kind < 15 || below(8) > 0) return [below(2) === 0 ? 'get' : 'has', key];
  const range = { gte: key, lt: Math.min(key + 30, first + size), reverse: below(2) === 0 };
  return ['range', below(2) === 0 ? range : { ...range, limit: below(6) }];
}

/** Random commands of a client on hot keys. What it writes nobody else does, but for what adds make of it. */
class Hot {
  constructor({ client, keys, wide = 0, columns = true }) {
    this.keys = keys;
    this.wide = wide;
    this.columns = columns;
    this.next = client * 1e9;
    /** What was last seen of each key: what compareAndSet expects. */
    this.seen = new Map();
  }

  key() {
    return this.keys[below(this.keys.length)];
  }

  value(key) {
    // So far apart that adds do not make one of another.
    this.next += 1000;
    this.seen.set(key, this.next);
    return this.next;
  }

  some() {
    return Array.from({ length: 2 + below(3) }, () => this.key());
  }

  range() {
    const range = { reverse: below(2) === 0 };
    if (below(2) === 0) range[below(2) === 0 ? 'gt' : 'gte'] = this.key();
    if (below(2) === 0) range[below(2) === 0 ? 'lt' : 'lte'] = this.key();
    if (below(2) === 0) range.limit = 1 + below(4);
    return range;
  }

  /** Of one key, or with the given chance (in a thousand) of several. */
  command() {
    const key = this.key();
    if (below(1000) < this.wide) {
      const kind = below(this.columns ? 9 : 4);
      if (kind < 2) return ['range', this.range()];
      if (kind < 3) return [['first', 'last'][below(2)]];
      if (kind < 4) return [['floor', 'ceiling', 'lower', 'higher'][below(4)], key];
      if (kind < 5) return ['count'];
      const some = this.some();
      return kind < 7 ? ['getAll', some] : ['putAll', some, some.map((one) => this.value(one))];
    }
    const kind = below(20);
    if (kind < 4) return ['insert', key, this.value(key)];
    if (kind < 8) return ['delete', key];
    if (kind < 10) return ['put', key, this.value(key)];
    if (kind < 11) return ['update', key, this.value(key)];
    if (kind < 13) return ['add', key, 1 + below(3)];
    if (kind < 15) return ['compareAndSet', key, this.seen.get(key) ?? 0, this.value(key)];
    return [below(4) === 0 ? 'has' : 'get', key];
  }

  /** A direct read: of keys, or of ranges too. */
  direct(tree, what) {
    const key = this.key();
    const kind = below(16);
    if (kind === 0) tree.has(key);
    else if (kind === 1) tree.getMany(this.some());
    else if (kind > 5 || what === 'keys') this.seen.set(key, tree.get(key));
    else if (kind > 3) tree.range(this.range());
    else if (kind === 3) tree[['first', 'last'][below(2)]]();
    else tree[['floor', 'ceiling', 'lower', 'higher'][below(4)]](key);
  }
}

const tasks = {
  /**
   * Commands on hot keys in every way there is, until so many were given or so many milliseconds are over (but some in any
   * case); all of them recorded, with their answers. The end of the store ends it too. `waiting` is how many clients have
   * yet to come until all begin.
   */
  async history(store, { client, clock, waiting, operations, ms, direct, fault, ...what }) {
    const recorded = record(fault === undefined ? store : faulty(store, fault), client, clock);
    const hot = new Hot({ client, ...what });
    if (Atomics.sub(waiting, 0, 1) === 1) Atomics.notify(waiting, 0);
    for (let left = Atomics.load(waiting, 0); left > 0; left = Atomics.load(waiting, 0)) Atomics.wait(waiting, 0, left);
    const end = performance.now() + ms;
    try {
      for (let given = 0; given < 80 || (given < operations && performance.now() < end); ) {
        const how = below(10);
        const some = Array.from({ length: how < 5 ? 1 : 2 + below(5) }, () => hot.command());
        given += some.length;
        if (how < 5) {
          const [[name, ...rest]] = some;
          const result = recorded[`${name}Sync`](...rest);
          if (name === 'get') hot.seen.set(rest[0], result);
        } else if (how < 6) await recorded.batch(some);
        else if (how < 8) recorded.batchSync(some);
        else await Promise.all(some.map(([name, ...rest]) => recorded[name](...rest)));
        if (direct !== undefined) hot.direct(recorded.tree, direct);
      }
    } catch (error) {
      if (error.code !== 'ERR_CLOSED') throw error;
    }
    return recorded.operations;
  },

  /** Commands on a block of keys of its own, and every answer. */
  async block(store, { client, rounds, size, batch }) {
    const commands = [];
    const results = [];
    for (let round = 0; round < rounds; round++) {
      const some = Array.from({ length: 1 + below(batch) }, () => blockCommand(client * 10_000, size));
      const how = below(4);
      if (how === 0) results.push(...(await store.batch(some)));
      else if (how === 1) results.push(...store.batchSync(some));
      else if (how === 2) results.push(...(await Promise.all(some.map(([name, ...rest]) => store[name](...rest)))));
      else for (const [name, ...rest] of some.slice(0, 20)) results.push(store[`${name}Sync`](...rest));
      commands.push(...(how === 3 ? some.slice(0, 20) : some));
    }
    return { commands, results };
  },

  /** Adds on shared keys, with inserts and deletes of its own between them; answers what it added to each. */
  adds(store, { client, rounds, keys }) {
    const sums = new Array(keys).fill(0);
    for (let round = 0; round < rounds; round++) {
      const commands = [];
      for (let i = 0; i < 40; i++) {
        const key = below(keys);
        const by = 1 + below(9);
        sums[key] += by;
        commands.push(['add', key, by]);
        const own = keys + client * 1000 + below(200);
        commands.push(below(2) === 0 ? ['insert', own, 1] : ['delete', own]);
      }
      store.batchSync(commands);
    }
    return sums;
  },

  /** Inserts every key; answers those it won. */
  race(store, { keys }) {
    const order = Array.from({ length: keys }, (_, i) => i);
    for (let i = keys - 1; i > 0; i--) {
      // All clients go about the same way, so that they meet.
      const j = (Math.imul(i, 2654435761) >>> 0) % (i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    const won = [];
    for (let at = 0; at < keys; at += 16) {
      const some = order.slice(at, at + 16);
      const answers = store.batchSync(some.map((key) => ['insert', key, args.client]));
      for (const [i, answer] of answers.entries()) if (answer) won.push(some[i]);
    }
    return won;
  },

  /** Counts shared counters up by compareAndSet; answers, per counter, the values it went on from. */
  chains(store, { counters, steps }) {
    const from = Array.from({ length: counters }, () => []);
    for (let done = 0; done < steps; ) {
      const counter = below(counters);
      const value = store.getSync(counter);
      if (store.compareAndSetSync(counter, value, value + 1)) {
        from[counter].push(value);
        done++;
      }
      // Structure changes nearby.
      if (below(4) === 0)
        store.batchSync([
          ['insert', 100 + below(300), 1],
          ['delete', 100 + below(300)],
        ]);
    }
    return from;
  },

  /** Writes without end; answers the error that stops it. */
  load(store, { how }) {
    const some = (i) => Array.from({ length: 64 }, (_, j) => ['put', (i * 64 + j) % 5000, i]);
    return (async () => {
      for (let i = 0; ; i++) {
        try {
          if (how === 'sync') store.batchSync(some(i));
          else if (how === 'async') await store.batch(some(i));
          else if (how === 'ordered') store.rangeSync({ gte: i % 50, limit: 3 });
          else await Promise.all(some(i).map(([, key, value]) => store.put(key, value)));
        } catch (error) {
          return { code: error.code, name: error.name };
        }
      }
    })();
  },

  /** Many calls that are not awaited, then the codes they end with. */
  async flood(store, { calls, client, go }) {
    Atomics.wait(go, 0, 0);
    const promises = Array.from({ length: calls }, (_, i) =>
      store.put((client + 1) * 1e6 + i, i).then(
        () => 'done',
        (error) => error.code,
      ),
    );
    const counts = {};
    for (const end of await Promise.all(promises)) counts[end] = (counts[end] ?? 0) + 1;
    return counts;
  },

  /** Sends commands and answers their results. */
  batch(store, { commands }) {
    return store.batchSync(commands);
  },
};

try {
  const store = await connect(handle, args.options);
  parentPort.postMessage('connected');
  const result = await tasks[task](store, args);
  await store.close();
  parentPort.postMessage({ result });
} catch (error) {
  parentPort.postMessage({ failure: error.stack, code: error.code });
}
