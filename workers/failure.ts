/** The end of a store, and telling everybody who waits. */

import { supervisorLives } from '#platform';
import { type ErrorCode, SabtreeError } from '../engine/errors.ts';
import { LOG_ERROR, LOG_ERROR_TEXT, LOG_SIGNAL } from '../layout/durable.ts';
import {
  CLIENT_SIGNAL,
  EXECUTOR_SIGNAL,
  FAILURE_DIVERGED,
  FAILURE_EXECUTOR,
  FAILURE_LATCH,
  FAILURE_LOG,
  FAILURE_MEMORY,
  FAILURE_NONE,
  FAILURE_REBUILD,
  FAILURE_STALLED,
  FAILURE_TERMINATED,
  RING_ROOM_SIGNAL,
  STATE_CLOSING,
  STATE_FAILED,
  STATE_READ_ONLY,
  STREAMS_DIVERGED,
  STREAMS_FAILURE,
  STREAMS_STATE,
  STREAMS_SUPERVISOR,
} from '../layout/streams.ts';
import type { Streams } from './streams.ts';
import { wakeWatchers } from './watch-memory.ts';

function wake(words: Int32Array, word: number): void {
  Atomics.add(words, word, 1);
  Atomics.notify(words, word);
}

/** Moves every client's futex, and wakes the watchers. */
export function wakeClients(streams: Streams): void {
  const { words, shape } = streams;
  wakeWatchers(streams);
  for (let client = 0; client < shape.clients; client++) wake(words, (streams.client(client) + CLIENT_SIGNAL) >> 2);
}

/** Moves every futex of the store, so that all who sleep look at its state. */
export function wakeEverybody(streams: Streams): void {
  const { words, shape } = streams;
  for (let replica = 0; replica < shape.replicas; replica++) {
    for (let executor = 0; executor < shape.executors; executor++) {
      wake(words, (streams.executor(replica, executor) + EXECUTOR_SIGNAL) >> 2);
    }
  }
  for (let group = 0; group < shape.groups; group++) wake(words, (streams.ring(group) + RING_ROOM_SIGNAL) >> 2);
  wake(words, (streams.durableAt + LOG_SIGNAL) >> 2);
  wakeClients(streams);
}

/** The last replica is lost: every call fails from now on. */
export function failStreams(streams: Streams, failure: number): void {
  const { words } = streams;
  Atomics.compareExchange(words, STREAMS_FAILURE >> 2, FAILURE_NONE, failure);
  for (let { state } = streams; state < STATE_CLOSING; state = streams.state) {
    if (Atomics.compareExchange(words, STREAMS_STATE >> 2, state, STATE_FAILED) === state) break;
  }
  wakeEverybody(streams);
}

/**
 * Fails the store if its supervisor is dead and has not ended it. With the thread that opened a store all of its threads end, at any
 * instruction, and nobody is left to tell those who wait: so they look themselves.
 */
export function failOrphan(streams: Streams): void {
  if (streams.state > STATE_READ_ONLY) return;
  if (!supervisorLives(Atomics.load(streams.words, STREAMS_SUPERVISOR >> 2))) failStreams(streams, FAILURE_TERMINATED);
}

/** Milliseconds between two looks at the supervisor. */
const LOOK = 1000;

/** `failOrphan` for who waits again and again: once a second at most, however often it is called. */
export function orphanWatch(streams: Streams): () => void {
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - last < LOOK) return;
    last = now;
    failOrphan(streams);
  };
}

/** Moves the store to its end. */
export function closeStreams(streams: Streams): void {
  Atomics.store(streams.words, STREAMS_STATE >> 2, STATE_CLOSING);
  wakeEverybody(streams);
}

/** Why replicas are lost, for people. */
export const FAILURE_REASONS: Readonly<Record<number, string>> = {
  [FAILURE_NONE]: 'nothing',
  [FAILURE_MEMORY]: 'its memory is at its maximum',
  [FAILURE_EXECUTOR]: 'an executor failed',
  [FAILURE_LATCH]: 'a latch was never given back',
  [FAILURE_TERMINATED]: 'a thread was ended',
  [FAILURE_STALLED]: 'it made no progress',
  [FAILURE_DIVERGED]: 'its content differed',
  [FAILURE_REBUILD]: 'it could not be rebuilt',
  [FAILURE_LOG]: 'the log could not be written',
};

/** What the log's error said. */
function logError(streams: Streams): string {
  const { bytes, words, durableAt } = streams;
  const from = durableAt + LOG_ERROR_TEXT;
  // A copy: TextDecoder takes no shared memory.
  return new TextDecoder().decode(bytes.slice(from, from + words[(durableAt + LOG_ERROR) >> 2]));
}

/** The error that commands get in a store that is not open. */
export function stateError(streams: Streams): SabtreeError {
  const { state, words } = streams;
  if (state === STATE_READ_ONLY) {
    const position = Atomics.load(words, STREAMS_DIVERGED >> 2);
    return new SabtreeError(
      'ERR_DIVERGED',
      `the replicas' contents differ since comparison ${position} at the latest: the store is read-only`,
      position,
    );
  }
  if (state !== STATE_FAILED) return new SabtreeError('ERR_CLOSED', 'the store was closed');
  const failure = Atomics.load(words, STREAMS_FAILURE >> 2);
  if (failure === FAILURE_MEMORY) {
    return new SabtreeError(
      'ERR_MEMORY_EXHAUSTED',
      "the last replica's memory is at its maximum; the store takes no more commands",
    );
  }
  if (failure === FAILURE_LOG) {
    const why = logError(streams);
    return new SabtreeError(
      'ERR_LOG_FAILED',
      `the log could not be written, so nothing more is carried out: ${why}`,
      why,
    );
  }
  if (failure === FAILURE_LATCH)
    return new SabtreeError('ERR_LATCH_LOST', 'the last replica was lost: a latch was never given back');
  return new SabtreeError('ERR_REPLICAS_LOST', `the last replica was lost: ${FAILURE_REASONS[failure] ?? failure}`);
}

/** An error as it crosses comlink, which would lose its class and code. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  /** The error's value, if it has one. */
  readonly value?: unknown;
}

/** What an error crosses as. */
export function failureOf(error: unknown): Failure {
  if (error instanceof SabtreeError) return { code: error.code, message: error.message, value: error.value };
  return { code: 'ERR_EXECUTOR', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

/** The error that a failure stands for. */
export function failureError({ code, message, value }: Failure): SabtreeError {
  // Not a SabtreeError where it came from: a thread that ended, or met something it should not have.
  const known = code !== 'ERR_EXECUTOR' && code !== 'ENDED';
  return new SabtreeError(known ? (code as ErrorCode) : 'ERR_REPLICAS_LOST', message, value);
}

/** Whether something that came over comlink is a failure. */
export function isFailure(answer: unknown): answer is Failure {
  return typeof answer === 'object' && answer !== null && 'code' in answer && 'message' in answer;
}
