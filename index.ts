export type { CheckReport } from './engine/check.ts';
export { type ErrorCode, SabtreeError } from './engine/errors.ts';
export type { KeyOf, KeyType } from './engine/keys.ts';
export type { RangeIterator, RangeOptions } from './engine/range.ts';
export { f64, i64, type RecordSchema, u64 } from './engine/record.ts';
export {
  type AttachOptions,
  type Column,
  SharedTree,
  type TreeHandle,
  type TreeOptions,
  TreeReader,
} from './engine/shared-tree.ts';
export type { TreeStats } from './engine/stats.ts';
export type { ScalarType, ValueOf, ValueType } from './engine/values.ts';
export type { Command, CommandName, Result } from './workers/commands.ts';
export type { FsyncPolicy } from './workers/durable/log.ts';
export type { LogOptions, NodeWritable, SnapshotSource, SnapshotTarget } from './workers/durable/options.ts';
export type { TornTail } from './workers/durable/recovery.ts';
export type { SnapshotInfo } from './workers/durable/snapshot.ts';
export { modelNames } from './workers/models/index.ts';
export type { MixerName, ModelName } from './workers/models/model.ts';
export {
  type ExecutorStats,
  type LogStatus,
  open,
  type ReplicaDigest,
  type ReplicaStatus,
  Store,
  type StoreOptions,
  type StoreStats,
  type StoreStatus,
} from './workers/store.ts';
export { type ConnectOptions, connect, StoreClient, type StoreHandle } from './workers/store-client.ts';
export type { StoreEvent } from './workers/supervisor.ts';
export type { WaitName } from './workers/waiting.ts';
