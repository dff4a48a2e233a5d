/** Clients with a planted fault, for showing that a recorded history tells. */

/** By fault, the methods that are wrong; the others are the store's own. */
const FAULTS = {
  /** Answers before the command was executed. */
  early: (store) => ({
    putSync(key, value) {
      void store.put(key, value).catch(() => {});
      return !store.tree.has(key);
    },
  }),
  /** Sends again what was answered already. */
  twice: (store) => ({
    addSync(key, by) {
      const before = store.addSync(key, by);
      store.addSync(key, by);
      return before;
    },
  }),
  /** Takes a command for answered that was never sent. */
  lost: (store) => ({
    putSync: (key) => !store.hasSync(key),
  }),
  /** Reads directly from a copy that is not always fresh. */
  stale(store) {
    const copy = new Map();
    let reads = 0;
    return {
      get tree() {
        const get = (key) => {
          if (++reads % 4 > 0 || !copy.has(key)) copy.set(key, store.tree.get(key));
          return copy.get(key);
        };
        return Object.assign(Object.create(store.tree), { get });
      },
    };
  },
  /** Carries out in two steps what should be one. */
  torn: (store) => ({
    getAllSync: (keys) => keys.map((key) => store.getSync(key)),
    rangeSync({ limit, ...range }) {
      const below = store.rangeSync(range).filter(([key]) => key < 55);
      const above = store.rangeSync(range).filter(([key]) => key >= 55);
      return (range.reverse ? [...above, ...below] : [...below, ...above]).slice(0, limit);
    },
  }),
};

/** The store, but for that fault. */
export function faulty(store, fault) {
  const wrong = FAULTS[fault](store);
  return new Proxy(store, {
    get(target, name) {
      if (name in wrong) return wrong[name];
      const right = target[name];
      return typeof right === 'function' ? right.bind(target) : right;
    },
  });
}
