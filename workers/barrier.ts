/**
 * The sync point of a many-group command, in one replica. Every executor of its groups *stands* at the command once it
 * has reached it in all of its rings; the executor of the command's own group waits for all of them, does what there is
 * to do, and *releases* them.
 *
 * Different commands may be under way at the same time among disjoint executors, so nothing is counted: each executor
 * has a word for the number it stands at and one for the number it was released from.
 */
import {
  EXECUTOR_PARKED,
  EXECUTOR_RELEASED,
  EXECUTOR_SIGNAL,
  EXECUTOR_STANDING,
  STATE_OPEN,
} from '../layout/streams.ts';
import type { Streams } from './streams.ts';
import type { WaitStrategy } from './waiting.ts';

/** One executor's part in sync points. */
export class Barrier {
  /** Times this executor slept here. */
  parks = 0;
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly replica: number;
  private readonly executor: number;
  private readonly wait: WaitStrategy;

  constructor(streams: Streams, replica: number, executor: number, wait: WaitStrategy) {
    this.streams = streams;
    this.words = streams.words;
    this.replica = replica;
    this.executor = executor;
    this.wait = wait;
  }

  private word(executor: number, offset: number): number {
    return (this.streams.executor(this.replica, executor) + offset) >> 2;
  }

  /** Says that this executor stands at `number`, and waits until `leader` lets it go. False if the store is closing. */
  standBy(number: number, leader: number): boolean {
    Atomics.store(this.words, this.word(this.executor, EXECUTOR_STANDING), number);
    this.wake(leader);
    return this.until(() => Atomics.load(this.words, this.word(this.executor, EXECUTOR_RELEASED)) === number);
  }

  /** As the leader: waits until all of `others` stand at `number`. False if the store is closing. */
  gather(number: number, others: readonly number[]): boolean {
    for (const other of others) {
      const standing = this.word(other, EXECUTOR_STANDING);
      if (!this.until(() => Atomics.load(this.words, standing) === number)) return false;
    }
    return true;
  }

  /** As the leader: lets them go. */
  release(number: number, others: readonly number[]): void {
    for (const other of others) {
      Atomics.store(this.words, this.word(other, EXECUTOR_RELEASED), number);
      this.wake(other);
    }
  }

  /**
   * Waits for a condition that another executor of the replica makes true and then calls `wake`. No wake-up is lost: the
   * waiter sets its flag, then looks at the condition, then sleeps if its signal has not moved; the other makes the
   * condition true, then looks at the flag, then moves the signal. All of it is sequentially consistent.
   */
  private until(condition: () => boolean): boolean {
    const { words, wait, streams } = this;
    const signal = this.word(this.executor, EXECUTOR_SIGNAL);
    const parked = this.word(this.executor, EXECUTOR_PARKED);
    for (let looks = 0; !condition(); looks++) {
      if (streams.state !== STATE_OPEN || ((streams.alive >>> this.replica) & 1) === 0) return false;
      if (!wait.idle(looks)) continue;
      const ticket = Atomics.load(words, signal);
      Atomics.store(words, parked, 1);
      // Closing is told by moving every signal, so it need not be waited for with a time limit.
      if (!condition() && streams.state === STATE_OPEN) {
        this.parks++;
        Atomics.wait(words, signal, ticket);
      }
      Atomics.store(words, parked, 0);
    }
    return true;
  }

  private wake(executor: number): void {
    const { words } = this;
    if (Atomics.load(words, this.word(executor, EXECUTOR_PARKED)) === 0) return;
    const signal = this.word(executor, EXECUTOR_SIGNAL);
    Atomics.add(words, signal, 1);
    Atomics.notify(words, signal);
  }
}
