/**
 * The sync point of a many-group command, in one replica. Every executor of its groups *stands* at the command once it
 * has reached it in all of its rings; the executor of the command's own group waits for all of them, does what there is
 * to do, and *releases* them.
 *
 * Different commands may be under way at the same time among disjoint executors, so nothing is counted: each executor
 * has a word for the number it stands at and one for the number it was released from.
 */
import { EXECUTOR_RELEASED, EXECUTOR_STANDING } from '../layout/streams.ts';
import type { Signals } from './signals.ts';
import type { Streams } from './streams.ts';

/** One executor's part in sync points. */
export class Barrier {
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly replica: number;
  private readonly executor: number;
  private readonly signals: Signals;

  constructor(streams: Streams, replica: number, executor: number, signals: Signals) {
    this.streams = streams;
    this.words = streams.words;
    this.replica = replica;
    this.executor = executor;
    this.signals = signals;
  }

  private word(executor: number, offset: number): number {
    return (this.streams.executor(this.replica, executor) + offset) >> 2;
  }

  /** Says that this executor stands at `number`, and waits until `leader` lets it go. False if the store is closing. */
  standBy(number: number, leader: number): boolean {
    this.stand(number, leader);
    return this.signals.until(() => Atomics.load(this.words, this.word(this.executor, EXECUTOR_RELEASED)) === number);
  }

  /** Says that this executor stands at `number`. */
  stand(number: number, leader: number): void {
    Atomics.store(this.words, this.word(this.executor, EXECUTOR_STANDING), number);
    this.signals.wake(leader);
  }

  /** As the leader: waits until all of `others` stand at `number`. False if the store is closing. */
  gather(number: number, others: readonly number[]): boolean {
    for (const other of others) {
      const standing = this.word(other, EXECUTOR_STANDING);
      if (!this.signals.until(() => Atomics.load(this.words, standing) === number)) return false;
    }
    return true;
  }

  /** As the leader: lets them go. */
  release(number: number, others: readonly number[]): void {
    for (const other of others) {
      Atomics.store(this.words, this.word(other, EXECUTOR_RELEASED), number);
      this.signals.wake(other);
    }
  }
}
