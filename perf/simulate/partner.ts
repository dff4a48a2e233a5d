/** The other thread of the measurements that take two: does what the first one orders, see partnership.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { Handover } from '../../workers/handover.ts';
import { Signals } from '../../workers/signals.ts';
import { Streams } from '../../workers/streams.ts';
import { park, spin } from '../../workers/waiting.ts';
import { ANSWER, CAPACITY, ECHO, END, type Ends, ORDER, PARTNER, RECORDS, ROUND, SLEEP } from './partnership.ts';

const { streams: memory, words: shared } = workerData as Ends;
const streams = Streams.attach(memory);
const words = new Int32Array(shared);
const looking = new Signals(streams, 0, PARTNER, spin);
const sleeping = new Signals(streams, 0, PARTNER, park);
const queue = new Handover(words, RECORDS, CAPACITY, looking, 1 - PARTNER);

parentPort?.postMessage('ready');
for (let round = 1; ; round++) {
  const ordered = () => Atomics.load(words, ROUND) === round;
  // The order for a round stands there before the round is announced, and for the next round too.
  if (words[ORDER] === SLEEP) sleeping.until(ordered);
  else while (!ordered());
  const order = words[ORDER];
  if (order === END) break;
  if (order !== ECHO && order !== SLEEP) {
    // So many records.
    for (let i = 0; i < order; i++) {
      const at = queue.reserve(1) >> 2;
      words.fill(round, at, at + 16);
      queue.wrote(1);
    }
    queue.publish();
  }
  Atomics.store(words, ANSWER, round);
}
