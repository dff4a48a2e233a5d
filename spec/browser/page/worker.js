/** A user's worker: does what it is asked, and answers with what came out of it. */
import { connect, open, SharedMap, SharedTree } from 'sabtree';

// Looked for when it is needed, so this is early enough.
if (self.name === 'without waitAsync') delete Atomics.waitAsync;

let client;
const heard = [];

const tasks = {
  /** Writes a range of keys into a tree. */
  fill({ handle, from, to }) {
    const tree = SharedTree.attach(handle);
    for (let key = from; key < to; key++) tree.put(key, key * 2);
    tree.close();
    return to - from;
  },
  map({ handle, key, value }) {
    SharedMap.attach(handle).set(key, value);
  },
  /** Opens a store of its own. */
  open: async ({ options }) => (await open(options)).handle,
  /** Becomes a client of a store. */
  async connect({ handle }) {
    client = await connect(handle);
    return client.id;
  },
  /** Awaited, blocking and direct. */
  async use({ key }) {
    const fresh = await client.put(key, key + 0.5);
    client.putSync(key + 1, key + 1.5);
    return [fresh, client.getSync(key), client.tree.get(key + 1), 'waitAsync' in Atomics];
  },
  watch() {
    client.watch(undefined, ({ type, key }) => heard.push([type, key]));
  },
  heard: () => heard,
  leave: () => client.close(),
};

addEventListener('message', async ({ data: { id, task, ...rest } }) => {
  try {
    postMessage({ id, result: await tasks[task](rest) });
  } catch (error) {
    postMessage({ id, error: `${error.code ?? error.name}: ${error.message}` });
  }
});
