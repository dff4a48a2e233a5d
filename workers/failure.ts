/** Losing a replica, and telling everybody who waits. */

import { SabtreeError } from '../engine/errors.ts';
import {
  CLIENT_SIGNAL,
  EXECUTOR_SIGNAL,
  FAILURE_EXECUTOR,
  FAILURE_LATCH,
  FAILURE_MEMORY,
  FAILURE_NONE,
  RING_ROOM_SIGNAL,
  STATE_CLOSING,
  STATE_FAILED,
  STATE_OPEN,
  STREAMS_ALIVE,
  STREAMS_FAILURE,
  STREAMS_HOME,
  STREAMS_STATE,
} from '../layout/streams.ts';
import type { Streams } from './streams.ts';

/** Moves every futex of the store, so that all who sleep look at its state. */
export function wakeEverybody(streams: Streams): void {
  const { words, shape } = streams;
  const wake = (word: number) => {
    Atomics.add(words, word, 1);
    Atomics.notify(words, word);
  };
  for (let replica = 0; replica < shape.replicas; replica++) {
    for (let executor = 0; executor < shape.executors; executor++) {
      wake((streams.executor(replica, executor) + EXECUTOR_SIGNAL) >> 2);
    }
  }
  for (let group = 0; group < shape.groups; group++) wake((streams.ring(group) + RING_ROOM_SIGNAL) >> 2);
  for (let client = 0; client < shape.clients; client++) wake((streams.client(client) + CLIENT_SIGNAL) >> 2);
}

/**
 * Takes a replica out: its readers no longer gate the writers, its executors stop. Losing the home replica fails the
 * store; losing another one leaves it running with less to fall back on.
 */
export function loseReplica(streams: Streams, replica: number, failure: number): void {
  const { words } = streams;
  Atomics.and(words, STREAMS_ALIVE >> 2, ~(1 << replica));
  if (Atomics.load(words, STREAMS_HOME >> 2) === replica) {
    Atomics.compareExchange(words, STREAMS_FAILURE >> 2, FAILURE_NONE, failure);
    Atomics.compareExchange(words, STREAMS_STATE >> 2, STATE_OPEN, STATE_FAILED);
  }
  wakeEverybody(streams);
}

/** Moves the store to its end. */
export function closeStreams(streams: Streams): void {
  Atomics.store(streams.words, STREAMS_STATE >> 2, STATE_CLOSING);
  wakeEverybody(streams);
}

/** The error that commands get in a store that is not open. */
export function stateError(streams: Streams): SabtreeError {
  if (streams.state !== STATE_FAILED) return new SabtreeError('ERR_CLOSED', 'the store was closed');
  const failure = Atomics.load(streams.words, STREAMS_FAILURE >> 2);
  if (failure === FAILURE_MEMORY) {
    return new SabtreeError(
      'ERR_MEMORY_EXHAUSTED',
      "the home replica's memory is at its maximum; the store takes no more commands",
    );
  }
  if (failure === FAILURE_LATCH)
    return new SabtreeError('ERR_LATCH_LOST', 'the home replica was lost: a latch was never given back');
  return new SabtreeError(
    'ERR_REPLICAS_LOST',
    `the home replica was lost (${failure === FAILURE_EXECUTOR ? 'an executor failed' : failure})`,
  );
}
