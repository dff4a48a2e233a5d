/**
 * All of sabtree, as `sabtree`: the tree (`SharedTree`, `SharedMap`), and the replicated store on top of it. `open` makes a store,
 * `connect` a client of it in another thread; `Store` is a `StoreClient` that also owns the store's threads.
 * @module
 */
export * from './tree.ts';
export type { KnownCommand } from './workers/command-table.ts';
export type { Command, CommandName, PointCommand, Result } from './workers/commands.ts';
export {
  type CallArguments,
  type CommandContext,
  type CommandDefinition,
  DefinedCommand,
  defineCommand,
  type Json,
  json,
  type PayloadOf,
  type PayloadType,
} from './workers/define-command.ts';
export type { FsyncPolicy } from './workers/durable/log.ts';
export type { LogOptions, NodeWritable, SnapshotSource, SnapshotTarget } from './workers/durable/options.ts';
export type { TornTail } from './workers/durable/recovery.ts';
export type { SnapshotInfo } from './workers/durable/snapshot.ts';
export type { GroupStats, MemoryStats, ReplicaMemory } from './workers/insight.ts';
export type { LatencyStats } from './workers/latency.ts';
export { modelNames } from './workers/models/index.ts';
export type { MixerName, ModelName } from './workers/models/model.ts';
export type { StatsReport, StatsServer } from './workers/stats-server.ts';
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
export { type Change, Changes, Watch, type WatchOptions, type WatchRange } from './workers/watch.ts';
