/** What takes two threads to measure: passing words, waking, handing over records. */
import { Worker } from 'node:worker_threads';
import { SLOT } from '../../layout/operation.ts';
import { Handover, handoverSize } from '../../workers/handover.ts';
import { Signals } from '../../workers/signals.ts';
import { Streams } from '../../workers/streams.ts';
import { spin } from '../../workers/waiting.ts';

/** What the two threads attach with. */
export interface Ends {
  readonly streams: SharedArrayBuffer;
  readonly words: SharedArrayBuffer;
}

/** The partner's number among the threads of the replica. */
export const PARTNER = 1;
/** Words on lines of their own: the number of the round, what is to be done in it, the round that is done. */
export const ROUND = 16;
export const ORDER = 32;
export const ANSWER = 48;
/** Orders; above them: write so many records. */
export const END = 0;
export const ECHO = -1;
export const SLEEP = -2;
/** Byte address of the queue, and its slots. */
export const RECORDS = 256;
export const CAPACITY = 1024;

/** Milliseconds that the partner may take to start. */
const LIMIT = 10_000;

const clock = () => Number(process.hrtime.bigint());

/** Two threads that are connected as threads of one replica are. */
export class Partnership {
  private readonly worker: Worker;
  private readonly words: Int32Array;
  private readonly signals: Signals;
  private readonly queue: Handover;
  private round = 0;

  private constructor(worker: Worker, streams: Streams, words: Int32Array) {
    this.worker = worker;
    this.words = words;
    this.signals = new Signals(streams, 0, 1 - PARTNER, spin);
    this.queue = new Handover(words, RECORDS, CAPACITY, this.signals, PARTNER);
  }

  static async start(): Promise<Partnership> {
    const streams = Streams.create({
      groups: 2,
      executors: 2,
      replicas: 1,
      clients: 1,
      ringSlots: 256,
      replyBytes: 4096,
      start: 0,
    });
    const words = new Int32Array(new SharedArrayBuffer(RECORDS + handoverSize(CAPACITY)));
    words[ORDER] = ECHO;
    const workerData: Ends = { streams: streams.memory, words: words.buffer as SharedArrayBuffer };
    const worker = new Worker(new URL('./partner.js', import.meta.url), { workerData });
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the partner did not start')), LIMIT);
      worker.once('error', reject);
      worker.once('message', () => {
        clearTimeout(timer);
        resolve();
      });
    });
    return new Partnership(worker, streams, words);
  }

  /** Announces a round, and waits until it is done. */
  private order(): void {
    const { words } = this;
    const round = ++this.round;
    Atomics.store(words, ROUND, round);
    while (Atomics.load(words, ANSWER) !== round);
  }

  /** Nanoseconds from a store until the other thread sees it: half a round trip. */
  transfer(rounds: number): number {
    this.words[ORDER] = ECHO;
    this.order();
    const begin = clock();
    for (let i = 0; i < rounds; i++) this.order();
    return (clock() - begin) / rounds / 2;
  }

  /** Nanoseconds of waking the partner when it sleeps: for this thread, and until the partner runs. */
  wake(): { notify: number; wake: number } {
    const { words, signals } = this;
    words[ORDER] = SLEEP;
    // The round before the one measured: the partner then waits for the next order as a sleeper does.
    this.order();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    const round = ++this.round;
    const begin = clock();
    Atomics.store(words, ROUND, round);
    signals.wake(PARTNER);
    const notified = clock();
    while (Atomics.load(words, ANSWER) !== round);
    const answered = clock();
    words[ORDER] = ECHO;
    // It may be asleep again already.
    this.round++;
    Atomics.store(words, ROUND, this.round);
    while (Atomics.load(words, ANSWER) !== this.round) signals.wake(PARTNER);
    return { notify: notified - begin, wake: answered - begin };
  }

  /** Nanoseconds of reading a record that the partner wrote. */
  foreignRecord(records: number): number {
    const { words } = this;
    words[ORDER] = records;
    this.order();
    words[ORDER] = ECHO;
    return this.read(records);
  }

  /** Nanoseconds of reading a record that this thread wrote. */
  ownRecord(records: number): number {
    const { words } = this;
    const queue = new Handover(words, RECORDS, CAPACITY, this.signals, PARTNER);
    const address = queue.address >> 2;
    for (let i = 0; i < records; i++) words.fill(i, address + i * 16, address + i * 16 + 16);
    return this.sum(address, records);
  }

  private read(records: number): number {
    const { queue } = this;
    if (queue.available(CAPACITY) < records) throw new Error('the partner wrote too little');
    const time = this.sum(queue.address >> 2, records);
    queue.advance(records);
    return time;
  }

  private sum(address: number, records: number): number {
    const { words } = this;
    const begin = clock();
    let sum = 0;
    for (let at = address; at < address + (records * SLOT) / 4; at++) sum = (sum + words[at]) | 0;
    const time = (clock() - begin) / records;
    if (sum === 1) throw new Error('a sum that cannot be: every word stands there sixteen times');
    return time;
  }

  async end(): Promise<void> {
    this.words[ORDER] = END;
    Atomics.store(this.words, ROUND, ++this.round);
    this.signals.wake(PARTNER);
    await this.worker.terminate();
  }
}
