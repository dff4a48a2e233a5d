/**
 * How the threads of one replica wait for each other: each sleeps on a futex of its own, and is woken by whoever made
 * true what it waits for.
 */
import { EXECUTOR_BEAT, EXECUTOR_PARKED, EXECUTOR_SIGNAL, STATE_READ_ONLY } from '../layout/streams.ts';
import type { RingReader } from './ring.ts';
import type { Streams } from './streams.ts';
import type { WaitStrategy } from './waiting.ts';

/** One thread's way to wait and to wake the others of its replica. */
export class Signals {
  /** Times this thread slept. */
  parks = 0;
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly replica: number;
  private readonly thread: number;
  private readonly wait: WaitStrategy;
  private readonly beatWord: number;

  constructor(streams: Streams, replica: number, thread: number, wait: WaitStrategy) {
    this.streams = streams;
    this.words = streams.words;
    this.replica = replica;
    this.thread = thread;
    this.wait = wait;
    this.beatWord = this.word(thread, EXECUTOR_BEAT);
  }

  /** Whether this replica's threads should go on. */
  get going(): boolean {
    const { state, alive } = this.streams;
    return state <= STATE_READ_ONLY && ((alive >>> this.replica) & 1) !== 0;
  }

  private word(thread: number, offset: number, replica = this.replica): number {
    return (this.streams.executor(replica, thread) + offset) >> 2;
  }

  /**
   * Waits for a condition that another thread of the replica makes true and then calls `wake`, or that comes about when
   * one of `readers` gets something. No wake-up is lost: the waiter sets its flags, then looks at the condition, then
   * sleeps if its signal has not moved; the other makes the condition true, then looks at the flag, then moves the
   * signal. All of it is sequentially consistent. (GroupRing.wakeReaders has the same argument for readers.)
   * @returns false if the store is closing or the replica is lost.
   */
  until(condition: () => boolean, readers: readonly RingReader[] = []): boolean {
    const { words, wait } = this;
    const signal = this.word(this.thread, EXECUTOR_SIGNAL);
    const parked = this.word(this.thread, EXECUTOR_PARKED);
    this.beat();
    for (let looks = 0; !condition(); looks++) {
      if (!this.going) return false;
      this.beat();
      if (!wait.idle(looks)) continue;
      const ticket = Atomics.load(words, signal);
      Atomics.store(words, parked, 1);
      for (const reader of readers) reader.announceSleep();
      // Closing is told by moving every signal, so it need not be waited for with a time limit.
      if (!condition() && this.going) {
        this.parks++;
        Atomics.wait(words, signal, ticket);
      }
      Atomics.store(words, parked, 0);
      for (const reader of readers) reader.awake();
      // Woken for something else: look a while again before sleeping.
      looks = 0;
    }
    return true;
  }

  /** Shows that this thread goes on. */
  beat(): void {
    this.words[this.beatWord]++;
  }

  /** Says that this thread sleeps, or no longer. */
  park(asleep: boolean): void {
    Atomics.store(this.words, this.word(this.thread, EXECUTOR_PARKED), asleep ? 1 : 0);
  }

  /** Wakes a thread, of this replica unless another one is named, if it sleeps in `until`. */
  wake(thread: number, replica = this.replica): void {
    const { words } = this;
    if (Atomics.load(words, this.word(thread, EXECUTOR_PARKED, replica)) === 0) return;
    const signal = this.word(thread, EXECUTOR_SIGNAL, replica);
    Atomics.add(words, signal, 1);
    Atomics.notify(words, signal);
  }
}
