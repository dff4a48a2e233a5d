/**
 * Direct reads of the home replica, whichever it is. When it is lost, the next one becomes home once it has executed
 * everything that the lost one had; a read that was under way meanwhile is made again there. So reads never go back.
 */
import type { Attachment } from '../engine/attachment.ts';
import { pauseBefore } from '../engine/backoff.ts';
import type { CheckReport } from '../engine/check.ts';
import type { KeyType } from '../engine/keys.ts';
import { type Range, RangeWalk } from '../engine/range.ts';
import { TreeReader } from '../engine/shared-tree.ts';
import type { TreeStats } from '../engine/stats.ts';
import type { ScalarType } from '../engine/values.ts';
import type { VariableType } from '../engine/variable-values.ts';
import { STATUS_TRUE } from '../layout/operation.ts';
import { STATE_READ_ONLY, STREAMS_EPOCH, STREAMS_HOME, STREAMS_LAST_HOME } from '../layout/streams.ts';
import { failOrphan, stateError } from './failure.ts';
import type { Streams } from './streams.ts';

/** Reads the home replica's tree. */
export class HomeReader<K, V> extends TreeReader<K, V> {
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly attach: (replica: number) => Attachment;
  private readonly attachments: (Attachment | undefined)[] = [];
  /** Whether values are of fixed size, and so read without a look at the tree. */
  private readonly fixed: boolean;
  /** The home replica's epoch that `attachment` belongs to. */
  private epoch: number;

  /** @param attach attaches this thread to a replica's tree. */
  constructor(
    streams: Streams,
    attach: (replica: number) => Attachment,
    key: KeyType,
    value: ScalarType | VariableType | 'record',
  ) {
    const { home, epoch } = homeOf(streams);
    const attachment = attach(home);
    super(attachment, key, value);
    this.streams = streams;
    this.words = streams.words;
    this.attach = attach;
    this.attachments[home] = attachment;
    this.epoch = epoch;
    this.fixed = attachment.values.variable === undefined;
    attachment.isStale = this.isStale;
  }

  /** Ends the waiting for a latch of a lost replica: the read is made again elsewhere. */
  private readonly isStale = () => this.words[STREAMS_EPOCH >> 2] !== this.epoch;

  /**
   * Goes over to the home replica, waiting for it while there is none.
   * @returns the epoch: a read is good if it is still the same afterwards. (A plain load: the calls between are ordered by
   *   the core's own atomic ones.)
   * @throws ERR_REPLICAS_LOST and the like if there will be none.
   */
  private settleHome(): number {
    if (this.words[STREAMS_EPOCH >> 2] === this.epoch) return this.epoch;
    this.alive();
    const { home, epoch } = homeOf(this.streams);
    const attachment = this.attachments[home] ?? this.attach(home);
    this.attachments[home] = attachment;
    attachment.isStale = this.isStale;
    this.attachment = attachment;
    this.core = attachment.core;
    this.epoch = epoch;
    return epoch;
  }

  /** Makes a read, and makes it again if the home replica was lost meanwhile. */
  private steady<R>(read: () => R): R {
    for (;;) {
      const epoch = this.settleHome();
      try {
        const result = read();
        if (this.words[STREAMS_EPOCH >> 2] === epoch) return result;
      } catch (error) {
        if (this.words[STREAMS_EPOCH >> 2] === epoch) throw error;
      }
    }
  }

  override get(key: K): V | undefined {
    const { attachment, words } = this;
    if (this.fixed && words[STREAMS_EPOCH >> 2] === this.epoch) {
      attachment.key.set(0, key);
      const status = this.core.get();
      if (status <= STATUS_TRUE && words[STREAMS_EPOCH >> 2] === this.epoch) {
        return status === STATUS_TRUE ? (attachment.value.get(0) as V) : undefined;
      }
    }
    return this.steady(() => super.get(key));
  }

  override has(key: K): boolean {
    return this.steady(() => super.has(key));
  }

  override get size(): number {
    return this.steady(() => super.size);
  }

  protected override neighbour(op: number, key: K): [K, V] | undefined {
    return this.steady(() => super.neighbour(op, key));
  }

  override first(): [K, V] | undefined {
    return this.steady(() => super.first());
  }

  override last(): [K, V] | undefined {
    return this.steady(() => super.last());
  }

  protected override walk(range: Range): RangeWalk {
    this.alive();
    this.settleHome();
    return new HomeWalk(this.attachment, range, (read) => this.steadyOf(read));
  }

  /** Like `steady`, for a walk, which has to know the tree it reads. */
  private steadyOf<R>(read: (attachment: Attachment) => R): R {
    return this.steady(() => read(this.attachment));
  }

  // biome-ignore lint/suspicious/noExplicitAny: the overloads are those of TreeReader
  override getMany(keys: ArrayLike<K>, ...rest: any[]): any {
    return this.steady(() => (super.getMany as (...all: unknown[]) => unknown)(keys, ...rest));
  }

  override check(): CheckReport {
    return this.steady(() => super.check());
  }

  override digest(): bigint {
    return this.steady(() => super.digest());
  }

  override stats(): TreeStats {
    return this.steady(() => super.stats());
  }

  override close(): void {
    super.close();
    for (const attachment of this.attachments) attachment?.detach();
  }
}

/** A walk that goes over to the next home replica. Entries of a piece that was read stay readable where they are. */
class HomeWalk extends RangeWalk {
  private readonly steady: <R>(read: (attachment: Attachment) => R) => R;

  constructor(attachment: Attachment, range: Range, steady: <R>(read: (attachment: Attachment) => R) => R) {
    super(attachment, range);
    this.steady = steady;
  }

  override advance(): boolean {
    const before = this.state;
    return this.steady((attachment) => {
      this.repeatIn(attachment, before);
      return super.advance();
    });
  }
}

/**
 * The home replica and its epoch; waits while there is none. In a store that has failed or was closed, the last home
 * replica, whose content is what was answered.
 */
function homeOf(streams: Streams): { home: number; epoch: number } {
  const { words } = streams;
  for (let tries = 0; ; tries++) {
    const epoch = Atomics.load(words, STREAMS_EPOCH >> 2);
    const home = Atomics.load(words, STREAMS_HOME >> 2);
    if ((epoch & 1) === 0 && home >= 0 && Atomics.load(words, STREAMS_EPOCH >> 2) === epoch) return { home, epoch };
    if (streams.state > STATE_READ_ONLY) {
      const last = Atomics.load(words, STREAMS_LAST_HOME >> 2);
      if (last < 0) throw stateError(streams);
      return { home: last, epoch };
    }
    if (tries % 1024 === 1023) failOrphan(streams);
    pauseBefore(tries);
  }
}
