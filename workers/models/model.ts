import type { Attachment } from '../../engine/attachment.ts';
import { APPLY_WITHIN_LEAF } from '../../layout/operation.ts';
import type { CallRunner } from '../call-runner.ts';
import type { RingReader } from '../ring.ts';
import type { Streams } from '../streams.ts';
import type { WaitStrategy } from '../waiting.ts';

/**
 * Names of the execution models: how commands are ordered and carried out. Where a paper has the idea, it is named.
 *
 * - 'direct': none of that; clients work on the latched tree themselves.
 * - 'smr': one stream, one executor.
 * - 'pipelined': one stream; receiving, executing and replying on a thread each.
 * - 'sdpe': one stream; a scheduler gives what depends on nothing pending to a pool of workers (CBASE, Kotla and Dahlin). It finds
 *   dependencies by key; 'sdpe-pairwise' compares each command with every pending one, as first published.
 * - 'execute-verify': batches carried out in no order, compared between replicas, repeated in order where they differ (Eve,
 *   Kapritsos and others).
 * - 'psmr': a stream for each group of keys; inserts and deletes run alone (P-SMR, Marandi, Bezerra and Pedone).
 * - 'opt-psmr': inserts and deletes run in parallel too; what does not stay within its leaf is carried out at a sync point
 *   (*Optimistic Parallel State-Machine Replication*, Marandi and Pedone).
 * - 'keyed': ours; splits and merges in place under node latches, so nothing is refused.
 */
export type ModelName =
  | 'direct'
  | 'smr'
  | 'pipelined'
  | 'sdpe'
  | 'sdpe-pairwise'
  | 'execute-verify'
  | 'psmr'
  | 'opt-psmr'
  | 'keyed';

/** How execute-verify guesses what is independent: 'keys' looks at the keys, 'blind' takes all for independent. */
export type MixerName = 'keys' | 'blind';

/** What a thread of a replica needs that is being rebuilt. */
export interface Rebuild {
  /** Number of the cut from which it begins. */
  readonly number: number;
  /** Memory of the replica that it is copied from. */
  readonly source: WebAssembly.Memory;
}

/** Everything a thread of a replica needs. */
export interface ThreadParts {
  readonly streams: Streams;
  readonly attachment: Attachment;
  readonly model: ExecutionModel;
  readonly replica: number;
  /** Number of this thread in its replica, from 0. */
  readonly thread: number;
  readonly wait: WaitStrategy;
  readonly mixer: MixerName;
  /** Runs user-defined commands in this thread. */
  readonly calls: CallRunner;
  /** Absent in a replica that begins with an empty tree. */
  readonly rebuild: Rebuild | undefined;
}

/** What a thread of a replica does. */
export interface ModelThread {
  /** The rings that it reads. */
  readonly readers: readonly RingReader[];
  /** Works until the store closes or the replica is lost. @throws what makes this replica unable to go on. */
  run(): void;
}

/**
 * How commands are ordered and executed. Clients ask it where a command goes, a replica's threads what to do; tree,
 * rings, codecs and clients are the same for all models.
 */
export interface ExecutionModel {
  readonly name: ModelName;
  /** One line for people. */
  readonly title: string;
  /** False if there is nothing to replicate: clients work on the tree themselves. */
  readonly replicated: boolean;
  /** True if commands go through one stream only. */
  readonly oneStream: boolean;
  /** True if execution is sequential: there is one executor, whatever was asked for. */
  readonly oneExecutor: boolean;
  /**
   * Whether an operation on one key must go to all groups, so that it is executed alone. Operations that name no one
   * key (floor, range, count, ...) always do.
   */
  toAllGroups(op: number): boolean;
  /** APPLY_ flags for one-group commands. */
  readonly parallelFlags: number;
  /** Threads of a replica that has that many executors. Thread 0 reads the stream of a one-stream model. */
  threads(executors: number): number;
  /** Makes one of them. Allocates all that it will need. */
  thread(parts: ThreadParts): ModelThread;
}

/** Whether the model defers what does not fit into a leaf. */
export function defers(model: ExecutionModel): boolean {
  return (model.parallelFlags & APPLY_WITHIN_LEAF) !== 0;
}
