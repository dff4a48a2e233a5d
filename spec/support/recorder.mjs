/** Records what a client of a store calls and is answered, for linearizability.ts; the operations are those of history.ts. */
import { COMMANDS } from '../../dist/workers/commands.js';

/** Errors of calls that certainly had no effect. After any other error the outcome is unknown. */
const NO_EFFECT = new Set([
  'ERR_ARGUMENT',
  'ERR_KEY',
  'ERR_VALUE',
  'ERR_TOO_LARGE',
  'ERR_UNSUPPORTED',
  'ERR_UNKNOWN_COMMAND',
  'ERR_WOULD_BLOCK',
]);

/** Reads of `tree` that are atomic. (`size` is exact only while nobody writes.) */
const DIRECT = ['get', 'has', 'floor', 'ceiling', 'lower', 'higher', 'first', 'last', 'range', 'getMany'];

/**
 * A clock for all threads, counted up at every call and every answer. Its times are a total order that contains the order
 * in real time: what was answered before something was called has the smaller time.
 */
export function makeClock() {
  return new Int32Array(new SharedArrayBuffer(4));
}

/** A command's arguments as a history has them, copied: the caller may change its arrays. */
function written([op, ...args]) {
  if (op === 'compareAndSet') return { key: args[0], value: [args[1], args[2]] };
  if (op === 'getAll' || op === 'putAll') return { key: Array.from(args[0]), value: args[1] && Array.from(args[1]) };
  if (op === 'range') return { key: { ...args[0] }, value: undefined };
  return { key: args[0], value: args[1] };
}

/** The keys of a getMany as the single lookups it is. */
function lookups(keys) {
  return Array.from(keys, (key) => ['get', key]);
}

/**
 * A client with the store's methods, whose calls are recorded in `operations` too. The commands of a batch have one interval.
 * Reads of `tree` are another client, called `${client} direct`, as they are not ordered with commands under way. Not
 * recorded, and so not offered, are putMany and deleteMany, which answer sums only.
 */
export function record(store, client, clock) {
  const all = [];
  const without = new Set();
  const tick = () => Atomics.add(clock, 0, 1);

  function begin(commands, who = client) {
    const call = tick();
    const begun = commands.map((command) => {
      const { key, value } = written(command);
      return { client: who, op: command[0], key, value, result: undefined, call, return: null };
    });
    for (const operation of begun) all.push(operation);
    return begun;
  }
  function settle(begun, results) {
    const end = tick();
    for (const [i, operation] of begun.entries()) {
      const result = results[i];
      if (result instanceof Error) fail([operation], result);
      else {
        operation.result = result;
        operation.return = end;
      }
    }
  }
  function fail(begun, error) {
    if (NO_EFFECT.has(error.code)) for (const operation of begun) without.add(operation);
  }
  /** A range beyond the limit comes in pieces, at different places of the order. */
  function whole(command, result) {
    if (command[0] === 'range' && result.length > store.rangeLimit)
      throw new Error('a range in pieces is no operation');
    return result;
  }

  async function later(commands, act) {
    const begun = begin(commands);
    try {
      const results = await act();
      settle(begun, results);
      return results;
    } catch (error) {
      fail(begun, error);
      throw error;
    }
  }
  function now(commands, act, who) {
    const begun = begin(commands, who);
    try {
      const results = act();
      settle(begun, results);
      return results;
    } catch (error) {
      fail(begun, error);
      throw error;
    }
  }

  const recorded = {
    get operations() {
      return all.filter((operation) => !without.has(operation));
    },
    batch: (commands) => later(commands, () => store.batch(commands)),
    batchSync: (commands) => now(commands, () => store.batchSync(commands)),
    getMany: (keys) => later(lookups(keys), () => store.getMany(keys)),
    getManySync: (keys) => now(lookups(keys), () => store.getManySync(keys)),
    tree: {},
  };
  for (const name of Object.keys(COMMANDS)) {
    recorded[name] = async (...args) => {
      const command = [name, ...args];
      const [result] = await later([command], async () => [whole(command, await store[name](...args))]);
      return result;
    };
    recorded[`${name}Sync`] = (...args) => {
      const command = [name, ...args];
      return now([command], () => [whole(command, store[`${name}Sync`](...args))])[0];
    };
  }
  for (const name of DIRECT) {
    recorded.tree[name] = (...args) => {
      const commands = name === 'getMany' ? lookups(args[0]) : [[name, ...args]];
      const read = () => {
        const result = store.tree[name](...args);
        return name === 'getMany' ? result : [name === 'range' ? [...result] : result];
      };
      const results = now(commands, read, `${client} direct`);
      return name === 'getMany' ? results : results[0];
    };
  }
  return recorded;
}
