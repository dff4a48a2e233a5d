/**
 * What a replica's own threads do when replicas are lost, rebuilt, or clients gone: the parts of control commands. Each
 * runs when everything before the command has been executed in the replica, and nothing behind it.
 */
import { SNAPSHOT_COPIED, SNAPSHOT_NUMBER, SNAPSHOT_REACHED } from '../layout/durable.ts';
import {
  CLIENT_FREE,
  CLIENT_LEAVING,
  CLIENT_STATE,
  CUT_COPIED,
  CUT_NUMBER,
  CUT_REACHED,
  CUT_TARGET,
  STATE_READ_ONLY,
  STREAMS_EPOCH,
  STREAMS_HOME,
  STREAMS_LAST_HOME,
} from '../layout/streams.ts';
import { wakeClients } from './failure.ts';
import type { Streams } from './streams.ts';

/**
 * The replica becomes home: what follows in the streams it answers. It has executed everything that the lost home replica
 * had executed, for that stands before the command; so direct reads may go over to it.
 */
export function takeOver(streams: Streams, replica: number): void {
  const { words } = streams;
  if (Atomics.compareExchange(words, STREAMS_HOME >> 2, -1, replica) !== -1) return;
  Atomics.store(words, STREAMS_LAST_HOME >> 2, replica);
  Atomics.add(words, STREAMS_EPOCH >> 2, 1);
  Atomics.notify(words, STREAMS_EPOCH >> 2);
  wakeClients(streams);
}

/**
 * Stands still at a cut until the replica that is rebuilt has copied this one, or has been lost itself. Should this one be
 * lost meanwhile, it stands all the same until its thread is ended: what is copied must not change.
 * @param number of the cut: an old one is passed over.
 */
export function standForCopy(streams: Streams, replica: number, number: number): void {
  const { words } = streams;
  if (Atomics.load(words, CUT_NUMBER >> 2) !== number) return;
  // A lost replica is not copied any more, though its threads may not have ended yet.
  if (((streams.alive >>> replica) & 1) === 0) return;
  Atomics.store(words, CUT_REACHED >> 2, number);
  Atomics.notify(words, CUT_REACHED >> 2);
  const target = words[CUT_TARGET >> 2];
  for (;;) {
    const copied = Atomics.load(words, CUT_COPIED >> 2);
    const lives = (streams.alive >>> target) & 1;
    const current = Atomics.load(words, CUT_NUMBER >> 2) === number;
    if (copied === number || lives === 0 || !current || streams.state > STATE_READ_ONLY) return;
    Atomics.wait(words, CUT_COPIED >> 2, copied, 10);
  }
}

/** Stands still until the snapshot with this number has been copied, given up or followed by another one. */
export function standForSnapshot(streams: Streams, replica: number, number: number): void {
  const { words, durableAt } = streams;
  const at = (word: number) => (durableAt + word) >> 2;
  if (Atomics.load(words, at(SNAPSHOT_NUMBER)) !== number) return;
  Atomics.store(words, at(SNAPSHOT_REACHED), number);
  Atomics.notify(words, at(SNAPSHOT_REACHED));
  for (;;) {
    const copied = Atomics.load(words, at(SNAPSHOT_COPIED));
    const current = Atomics.load(words, at(SNAPSHOT_NUMBER)) === number;
    const lives = (streams.alive >>> replica) & 1;
    if (copied === number || !current || lives === 0 || streams.state > STATE_READ_ONLY) return;
    Atomics.wait(words, at(SNAPSHOT_COPIED), copied, 10);
  }
}

/** Gives the slot of a client that is gone to the next one: nothing that it sent is under way any more. */
export function freeClient(streams: Streams, client: number): void {
  Atomics.compareExchange(streams.words, (streams.client(client) + CLIENT_STATE) >> 2, CLIENT_LEAVING, CLIENT_FREE);
}
