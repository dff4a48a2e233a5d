import type { StoreClient, TreeReader } from '../../dist/index.js';
import type { Key, Operation } from './history.ts';

export function makeClock(): Int32Array<SharedArrayBuffer>;

type Client = StoreClient<Key, unknown>;
type Reads = 'get' | 'has' | 'floor' | 'ceiling' | 'lower' | 'higher' | 'first' | 'last' | 'getMany';

export type Recorded = Omit<
  Client,
  | 'tree'
  | 'handle'
  | 'close'
  | 'putMany'
  | 'putManySync'
  | 'deleteMany'
  | 'deleteManySync'
  | 'rangeLimit'
  | 'manyLimit'
  | 'client'
  | 'streams'
> & {
  readonly operations: Operation[];
  readonly tree: Pick<TreeReader<Key, unknown>, Reads> & {
    range(...args: Parameters<TreeReader<Key, unknown>['range']>): [Key, unknown][];
  };
};

export function record(store: Client, client: number | string, clock: Int32Array): Recorded;
