/**
 * A user's program in TypeScript: compiled in an empty project in which the package is installed, with all checks on and
 * the packages' own types checked too. What it assigns and refuses is the test; it also runs, and prints one line of JSON.
 */
import { open, SabtreeError, type Store, type StoreClient } from 'sabtree';
import { type RangeOptions, SharedMap, SharedTree, type TreeHandle, u64 } from 'sabtree/tree';
import { chars, object, u32 } from 'typed-binary';

// Keys and values have the types that the options name.
const tree: SharedTree<number, number> = SharedTree.create({ key: 'u32', value: 'f64', memory: '16MB' });
const first: [number, number] | undefined = tree.first();
const wide: SharedTree<bigint, bigint> = SharedTree.create({ key: 'i64', value: 'i64', memory: '16MB' });
// @ts-expect-error: a number is no i64
wrong(() => wide.put(1, 2n));
// @ts-expect-error: there is no such key type
wrong(() => SharedTree.create({ key: 'u128', value: 'f64' }));

const Login = object({ user: u32, token: u64, country: chars(2) });
const logins = SharedMap.create({ key: 'f64', value: Login, memory: '16MB' });
logins.set(1.5, { user: 7, token: 1n << 40n, country: 'AU' });
const country: string | undefined = logins.get(1.5)?.country;
const token: bigint | undefined = logins.get(1.5)?.token;

// A SharedMap goes where a Map goes.
function total(map: ReadonlyMap<number, number>): number {
  let sum = 0;
  for (const [, value] of map) sum += value;
  return sum;
}
const map: Map<number, number> = new SharedMap(tree);
map.set(2, 2).set(1, 1);

// A handle is plain data; attaching needs no other type than the one asked for.
const handle: TreeHandle = tree.handle;
const again = SharedTree.attach<number, number>(handle);
const range: RangeOptions<number> = { gte: 2, reverse: true };
const upper: number[] = [...again.range(range)].map(([key]) => key);
again.close();

async function throughStore(): Promise<[put: boolean, value: number | undefined, code: string]> {
  await using store: Store<number, number> = await open({ key: 'i32', value: 'i32', executors: 1, memory: '16MB' });
  const client: StoreClient<number, number> = store;
  const put: boolean = await client.put(-1, 5);
  let code = 'none';
  try {
    // @ts-expect-error: a key of this store is a number
    await client.get('x');
  } catch (error) {
    if (error instanceof SabtreeError) code = error.code;
  }
  return [put, await client.get(-1), code];
}

function wrong(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (error instanceof SabtreeError) return;
  }
  throw new Error(`${act} was not refused`);
}

const stored = await throughStore();
console.log(JSON.stringify({ first, total: total(map), upper, country, token: String(token), stored }));
