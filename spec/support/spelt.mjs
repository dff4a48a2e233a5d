/** Stores whose keys vary in length, as if their keys were integers from 0 on: so they can do what other stores are tested with. */

/** For each type of keys, how an integer becomes a key, in the same order, and back. Their lengths differ. */
const SPELLINGS = {
  string: {
    spell: (n) => `key ${String(n).padStart(10, '0')}${'é𝄞'.repeat(n % 4)}`,
    read: (key) => Number(key.slice(4, 14)),
  },
  bytes: {
    spell: (n) => Uint8Array.from([n >>> 24, n >>> 16, n >>> 8, n, ...new Array((n * 7) % 300).fill(n)]),
    read: (key) => ((key[0] << 24) | (key[1] << 16) | (key[2] << 8) | key[3]) >>> 0,
  },
  tuple: {
    spell: (n) => [n >>> 8, n & 255, 'z'.repeat(n % 5)],
    read: ([high, low]) => high * 256 + low,
  },
};

const POINTS = ['get', 'has', 'put', 'insert', 'update', 'delete', 'compareAndSet', 'add'];
const NEIGHBOURS = ['floor', 'ceiling', 'lower', 'higher'];

/** The store with integers for keys; one whose keys are numbers as it is. */
export function spelt(store, type = store.handle.key) {
  if (SPELLINGS[type] === undefined) return store;
  const { spell, read } = SPELLINGS[type];
  const entry = (found) => found && [read(found[0]), found[1]];
  const bounds = (options) =>
    options &&
    Object.fromEntries(
      Object.entries(options).map(([name, value]) => [
        name,
        name === 'reverse' || name === 'limit' || value === undefined ? value : spell(value),
      ]),
    );
  const keys = (all) => Array.from(all, spell);
  const command = ([name, ...args]) => {
    if (name === 'range' || name === 'count') return [name, ...args.map(bounds)];
    if (name === 'getAll' || name === 'putAll') return [name, keys(args[0]), ...args.slice(1)];
    return args.length === 0 ? [name] : [name, spell(args[0]), ...args.slice(1)];
  };
  const answer = ([name], result) => {
    if (result instanceof Error) return result;
    if (name === 'range') return Array.from(result, entry);
    return NEIGHBOURS.includes(name) || name === 'first' || name === 'last' ? entry(result) : result;
  };
  const answers = (commands, results) => results.map((result, i) => answer(commands[i], result));

  const own = {};
  for (const name of [...POINTS, ...NEIGHBOURS, 'first', 'last', 'range', 'count', 'getAll', 'putAll']) {
    own[name] = async (...args) => answer([name], await store[name](...command([name, ...args]).slice(1)));
    own[`${name}Sync`] = (...args) => answer([name], store[`${name}Sync`](...command([name, ...args]).slice(1)));
  }
  for (const name of ['batch', 'atomic']) {
    own[name] = async (commands) => answers(commands, await store[name](commands.map(command)));
    own[`${name}Sync`] = (commands) => answers(commands, store[`${name}Sync`](commands.map(command)));
  }
  own.getMany = (all) => store.getMany(keys(all));
  own.getManySync = (all) => store.getManySync(keys(all));
  own.putManySync = (all, values) => store.putManySync(keys(all), values);
  const treeOf = (tree) => {
    const reads = { getMany: (all) => tree.getMany(keys(all)) };
    for (const name of ['get', 'has', ...NEIGHBOURS, 'first', 'last', 'range']) {
      reads[name] = (...args) => answer([name], tree[name](...command([name, ...args]).slice(1)));
    }
    return over(tree, reads);
  };
  own.tree = treeOf(store.tree);
  own.replica = (replica) => treeOf(store.replica(replica));
  own.read = (view) => store.read((tree) => view(treeOf(tree)));
  own.changes = (range, options) => changed(store.changes(bounds(range), options), read);
  return over(store, own);
}

async function* changed(changes, read) {
  for await (const change of changes) yield { ...change, key: read(change.key) };
}

/** An object some of whose properties are others. */
function over(object, own) {
  return new Proxy(object, {
    get(target, name) {
      if (Object.hasOwn(own, name)) return own[name];
      const theirs = target[name];
      return typeof theirs === 'function' ? theirs.bind(target) : theirs;
    },
  });
}
