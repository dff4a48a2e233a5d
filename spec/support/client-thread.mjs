/** A client of a store in a thread of its own: one task, then its result. See stores.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { connect } from '../../dist/index.js';
import { faulty } from './faulty-client.mjs';
import { record } from './recorder.mjs';
import { spelt } from './spelt.mjs';

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
  constructor({ client, keys, wide = 0, columns = true, adds = true }) {
    this.adds = adds;
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
    // Values that are no numbers have no such command.
    if (kind < 13) return this.adds ? ['add', key, 1 + below(3)] : ['get', key];
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

/** The store, but its commands on several keys are atomic batches of commands on one key. */
function atomically(store) {
  const gets = (keys) => Array.from(keys, (key) => ['get', key]);
  const puts = (keys, values) => Array.from(keys, (key, i) => ['put', key, values[i]]);
  const added = (results) => results.filter((fresh) => fresh).length;
  const instead = {
    getAll: (keys) => store.atomic(gets(keys)),
    getAllSync: (keys) => store.atomicSync(gets(keys)),
    putAll: async (keys, values) => added(await store.atomic(puts(keys, values))),
    putAllSync: (keys, values) => added(store.atomicSync(puts(keys, values))),
  };
  return new Proxy(store, {
    get(target, name) {
      const own = instead[name] ?? target[name];
      return typeof own === 'function' && instead[name] === undefined ? own.bind(target) : own;
    },
  });
}

const tasks = {
  /**
   * Commands on hot keys in every way there is, until so many were given or so many milliseconds are over (but some in any
   * case); all of them recorded, with their answers. The end of the store ends it too. `waiting` is how many clients have
   * yet to come until all begin.
   */
  async history(store, { client, clock, waiting, operations, ms, direct, fault, atomic, ...what }) {
    const one = fault === undefined ? store : faulty(store, fault);
    const recorded = record(atomic ? atomically(one) : one, client, clock);
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

  /**
   * Writes until it is stopped, in a way that every answer is known, or proves by itself that each command was carried
   * out once: own keys are put and deleted by turns, own counters go up by compareAndSet, each old value of an addition to
   * a hot key is found once by all clients together. Direct reads may not go back.
   */
  async witness(store, { client, how, stop, marks, hot, size, direct }) {
    const first = (client + 1) * 10_000;
    const turns = new Array(size).fill(0);
    const counters = [0, 0, 0];
    const adds = new Array(hot).fill(0);
    const seen = new Array(hot).fill(0);
    const perHot = marks.length / hot;
    const wrong = (text) => {
      throw new Error(`client ${client}, ${how}: ${text}`);
    };
    const expect = (wanted, what) => (answer) => {
      if (answer !== wanted) wrong(`${what} answered ${answer}, not ${wanted}`);
    };
    /** A command, and what its answer has to be. */
    const next = () => {
      const kind = below(40);
      if (kind < 22) {
        const i = below(size);
        const turn = ++turns[i];
        const key = first + i;
        if (turn % 2 === 0) return [['delete', key], expect(true, `delete ${key}`)];
        const name = below(2) === 0 ? 'put' : 'insert';
        return [[name, key, turn], expect(true, `${name} ${key}, turn ${turn}`)];
      }
      if (kind < 26) {
        const i = below(counters.length);
        const key = first + 5000 + i;
        const before = counters[i]++;
        return [['compareAndSet', key, before, before + 1], expect(true, `compareAndSet ${key} from ${before}`)];
      }
      if (kind < 36) {
        const key = below(hot);
        adds[key]++;
        return [
          ['add', key, 1],
          (before = 0) => {
            const bit = before % 32;
            const word = key * perHot + Math.floor(before / 32);
            if (word >= (key + 1) * perHot) return;
            if ((Atomics.or(marks, word, 1 << bit) >>> bit) & 1) wrong(`two additions to ${key} found ${before}`);
          },
        ];
      }
      const i = below(size);
      const key = first + i;
      const turn = turns[i];
      if (kind < 38) {
        // A read that comes again after a failover may see what its own client wrote behind it.
        const check = (value) => {
          for (let later = turn; later <= turns[i]; later++)
            if (value === (later % 2 === 1 ? later : undefined)) return;
          wrong(`get ${key} answered ${value} between turns ${turn} and ${turns[i]}`);
        };
        return [['get', key], check];
      }
      if (kind < 39) {
        const keys = [100, 101, 102, 103];
        const value = below(1e9);
        if (below(2) === 0) return [['putAll', keys, keys.map(() => value)], () => {}];
        return [
          ['getAll', keys],
          (values) => {
            if (new Set(values).size !== 1) wrong(`keys written together were read as ${values}`);
          },
        ];
      }
      // On a key that is there, or is not: nothing is changed.
      if (turn % 2 === 1) return [['insert', key, 0], expect(false, `insert ${key} again`)];
      return [['update', key, 0], expect(false, `update ${key}, which is not there`)];
    };
    for (let i = 0; i < counters.length; i++) await store.put(first + 5000 + i, 0);
    let commands = 0;
    while (Atomics.load(stop, 0) === 0) {
      const steps = Array.from({ length: 1 + below(60) }, next);
      const calls = steps.map(([command]) => command);
      let answers;
      if (how === 'sync') {
        if (below(4) > 0) answers = store.batchSync(calls);
        else answers = calls.map(([name, ...rest]) => store[`${name}Sync`](...rest));
      } else if (below(2) === 0) answers = await store.batch(calls);
      else answers = await Promise.all(calls.map(([name, ...rest]) => store[name](...rest)));
      for (const [i, [, check]] of steps.entries()) {
        if (answers[i] instanceof Error) throw answers[i];
        check(answers[i]);
      }
      commands += steps.length;
      // The store's own threads need the processors too.
      Atomics.wait(stop, 0, 0, 0.5);
      if (!direct) continue;
      // What was answered is there, whichever replica is read now.
      const i = below(size);
      const value = store.tree.get(first + i);
      expect(turns[i] % 2 === 1 ? turns[i] : undefined, `a direct read of ${first + i}`)(value);
      const key = below(hot);
      const now = store.tree.get(key) ?? 0;
      if (now < seen[key]) wrong(`key ${key} went back from ${seen[key]} to ${now}`);
      seen[key] = now;
      if (below(8) === 0) {
        const there = [...store.tree.range({ gte: first, lt: first + size })];
        const wanted = turns.flatMap((turn, n) => (turn % 2 === 1 ? [[first + n, turn]] : []));
        if (JSON.stringify(there) !== JSON.stringify(wanted)) wrong(`a direct range gave ${there}, not ${wanted}`);
      }
    }
    return { commands, adds, turns, counters };
  },

  /** Writes in one of several ways until its thread is ended. Keys 100 to 103 are always written together. */
  async victim(store, { client, how }) {
    const first = (client + 1) * 10_000;
    const together = [100, 101, 102, 103];
    for (let i = 1; ; i++) {
      const keys = Array.from({ length: 1 + below(200) }, () => first + below(500));
      const values = keys.map(() => i);
      if (how === 'putMany') store.putManySync(keys, values);
      else if (how === 'batch')
        store.batchSync(keys.map((key) => (below(2) === 0 ? ['put', key, i] : ['delete', key])));
      else if (how === 'putAll')
        store.putAllSync(
          together,
          together.map(() => first + i),
        );
      else if (how === 'mixed') {
        const calls = keys.slice(0, 20).map((key) => ['put', key, i]);
        calls.push(['putAll', together, together.map(() => first + i)], ['count'], ['range', { gte: first, limit: 5 }]);
        await store.batch(calls);
      } else await Promise.all(keys.map((key) => store.put(key, i)));
      store.tree.get(first + below(500));
    }
  },

  /** Reads in every way until it is ended. */
  async reader(store, { from, to }) {
    for (;;) {
      for (let i = 0; i < 100; i++) {
        store.tree.get(from + below(to - from));
        [...store.tree.range({ gte: from + below(to - from), limit: 300 })];
        store.rangeSync({ gte: from, lt: to });
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  },

  /** Sends commands and answers their results. */
  batch(store, { commands }) {
    return store.batchSync(commands);
  },
};

/** A client; where there may be none free yet, as soon as there is one. */
async function connected() {
  if (args.announce) parentPort.postMessage('connecting');
  for (;;) {
    try {
      return spelt(await connect(handle, args.options));
    } catch (error) {
      if (!args.patient || error.code !== 'ERR_TOO_MANY_THREADS') throw error;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

try {
  const store = await connected();
  parentPort.postMessage('connected');
  const result = await tasks[task](store, args);
  await store.close();
  parentPort.postMessage({ result });
} catch (error) {
  parentPort.postMessage({ failure: error.stack, code: error.code });
}
