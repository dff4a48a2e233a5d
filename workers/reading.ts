/**
 * Several direct reads of one state (`StoreClient.read`). The client sends a command to all groups; when its turn comes, the
 * home replica answers and *stands*: all of its executors, until the client has read what it wanted and lets them go. So the
 * reads see what is at one place of the order, need no validation and no retry, and cannot be starved.
 *
 * The client's word says how it is: READ_STANDS from before the answer until the client takes it back, and then its reads
 * were good; READ_OVER if the replica has not waited that long, and then they may not have been. Both sides change it by
 * compare-and-swap, so only one of them does.
 */
import { SabtreeError, show } from '../engine/errors.ts';
import {
  CLIENT_READ,
  CLIENT_STATE,
  CLIENT_USED,
  READ_OVER,
  READ_STANDS,
  STATE_READ_ONLY,
  STREAMS_EPOCH,
} from '../layout/streams.ts';
import { WATCH_STANDING } from '../layout/watch.ts';
import type { Streams } from './streams.ts';

/** Most milliseconds that a replica stands for a reader. */
const READ_LIMIT = 1000;

function readWord(streams: Streams, client: number): number {
  return (streams.client(client) + CLIENT_READ) >> 2;
}

/** In the home replica, before the command is answered. */
export function beginStanding(streams: Streams, replica: number, client: number): void {
  Atomics.or(streams.words, (streams.watchAt + WATCH_STANDING) >> 2, 1 << replica);
  Atomics.store(streams.words, readWord(streams, client), READ_STANDS);
}

/** After it was answered: stands until the client has read, has ended, or takes too long. */
export function standForReader(streams: Streams, replica: number, client: number): void {
  const { words } = streams;
  const word = readWord(streams, client);
  const state = (streams.client(client) + CLIENT_STATE) >> 2;
  const end = performance.now() + READ_LIMIT;
  while (Atomics.load(words, word) === READ_STANDS) {
    const lives = Atomics.load(words, state) === CLIENT_USED;
    const going = streams.state <= STATE_READ_ONLY && ((streams.alive >>> replica) & 1) === 1;
    if (!lives || !going || performance.now() > end) {
      Atomics.compareExchange(words, word, READ_STANDS, READ_OVER);
      break;
    }
    Atomics.wait(words, word, READ_STANDS, 10);
  }
  Atomics.and(words, (streams.watchAt + WATCH_STANDING) >> 2, ~(1 << replica));
}

/** Whether some replica stands for a reader: that is no stall. */
export function standsForReader({ words, watchAt }: Streams): boolean {
  return Atomics.load(words, (watchAt + WATCH_STANDING) >> 2) !== 0;
}

/** Forgets that a lost replica stood. */
export function endStanding({ words, watchAt }: Streams, replica: number): void {
  Atomics.and(words, (watchAt + WATCH_STANDING) >> 2, ~(1 << replica));
}

/** The epoch of the home replica, to be taken before a read is asked for. */
export function epochOf({ words }: Streams): number {
  return Atomics.load(words, STREAMS_EPOCH >> 2);
}

/**
 * In the client, once its command was answered: reads, and lets the replica go.
 * @param epoch taken before the command was sent.
 * @returns the view's result; undefined if it has to be asked for again, since the home replica was lost meanwhile.
 * @throws what `view` throws; ERR_ARGUMENT if it is asynchronous; ERR_TIMEOUT if it took longer than READ_LIMIT.
 */
export function readStanding<R>(
  streams: Streams,
  client: number,
  epoch: number,
  view: () => R,
): { readonly result: R } | undefined {
  const { words } = streams;
  const word = readWord(streams, client);
  let held = false;
  let result: R;
  try {
    result = view();
  } finally {
    held = Atomics.compareExchange(words, word, READ_STANDS, 0) === READ_STANDS;
    Atomics.notify(words, word);
  }
  if (epochOf(streams) !== epoch) return undefined;
  if (!held) {
    throw new SabtreeError(
      'ERR_TIMEOUT',
      `a view has to be done within ${READ_LIMIT} ms: the store stands meanwhile`,
      READ_LIMIT,
    );
  }
  if (typeof (result as Promise<unknown> | undefined)?.then === 'function') {
    throw new SabtreeError('ERR_ARGUMENT', `a view is synchronous, this one returned ${show(result)}`, result);
  }
  return { result };
}
