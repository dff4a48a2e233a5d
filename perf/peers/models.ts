/**
 * The paper's comparison: commands that insert and delete, through opt-psmr and through psmr, and through one executor
 * (smr) for reference. Same tree, rings, codecs and client; only the execution model differs.
 *
 *   client --windows of 256--> group rings --> executors --> replies
 */
import { type ModelName, open, type Store } from '../../index.ts';
import { alternate, type Plan, type Row, type Side } from '../support/measure.ts';
import { randomKeys } from '../support/random.ts';

/** Commands under way at a time. */
const WINDOW = 256;

export interface ModelSizes {
  /** Keys that stay, so that inserts and deletes happen in a tree of some height. */
  readonly entries: number;
  /** Keys inserted and deleted in a chunk. */
  readonly chunk: number;
  readonly executors: number;
  readonly replicas: number;
  readonly plan: Plan;
}

/** Inserts and deletes a chunk's keys in windows; answers how many were new plus how many were there. */
function churn(store: Store, keys: Uint32Array, values: Float64Array): number {
  let changed = 0;
  for (let from = 0; from < keys.length; from += WINDOW) {
    changed += store.putManySync(keys.subarray(from, from + WINDOW), values.subarray(from, from + WINDOW));
  }
  for (let from = 0; from < keys.length; from += WINDOW)
    changed += store.deleteManySync(keys.subarray(from, from + WINDOW));
  return changed;
}

export async function insertsAndDeletes({
  entries,
  chunk: size,
  executors,
  replicas,
  plan,
}: ModelSizes): Promise<Row[]> {
  const all = randomKeys(entries + size, 4711);
  const stay = all.subarray(0, entries);
  const come = all.subarray(entries);
  const values = Float64Array.from(all, (key) => key / 2);
  const stores: Store[] = [];
  const side = async (model: ModelName): Promise<Side> => {
    const store = await open({ key: 'u32', value: 'f64', model, executors, replicas, memory: '512MB' });
    stores.push(store);
    store.putManySync(stay, values.subarray(0, entries));
    return {
      name: model,
      run: () => churn(store, come, values.subarray(entries)),
      // What stays must be there, in every replica: the digests of all sides are those of the same content.
      async verify() {
        const digests = await store.digests();
        return Number(digests.reduce((sum, { digest }) => sum + (digest & 0xffffffffn), 0n));
      },
    };
  };
  try {
    const sides = [await side('opt-psmr'), await side('psmr'), await side('smr')];
    const name = `inserts and deletes, ${executors} executors, ${replicas} replica${replicas > 1 ? 's' : ''}`;
    return await alternate([{ name, operations: 2 * size, sides, target: 2.4 }], plan);
  } finally {
    for (const store of stores) await store.close();
  }
}
