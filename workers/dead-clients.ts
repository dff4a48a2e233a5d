/**
 * Clients whose threads are gone, and what they had in trees.
 *
 * A supervisor looks after them. A store of the model `direct` has none: its clients look after each other. Whoever connects, waits
 * for a latch, or is told of it takes back what a client had whose thread is gone. Latches it held for reading are given back; where
 * it was writing, the tree is damaged, and who needs that node learns so at once. The one that does it takes the dead client's place
 * under its own name first. Should it die meanwhile, the next one begins again: each step may be done twice.
 */
import { threadLives, threadToken } from '#platform';
import { type Attachment, markThreadDead, threadSlot } from '../engine/attachment.ts';
import { releaseScan } from '../engine/reset.ts';
import { CLIENT_FREE, CLIENT_STATE, CLIENT_THREAD, CLIENT_USED, STREAMS_REAPED } from '../layout/streams.ts';
import {
  MAX_THREADS,
  NODES,
  THREAD_ALIVE,
  THREAD_FREE,
  THREAD_OWNER_SHIFT,
  THREAD_STATE,
  THREAD_STATE_MASK,
} from '../layout/tree-memory.ts';
import { leaveClient } from './client.ts';
import type { Streams } from './streams.ts';

/** Milliseconds between two looks after dead clients by one thread that waits for a latch. */
const LOOK_EVERY = 20;
const WRITER = 1 << 16;

/** The owner that a client's slot for reading names in a tree. */
export const readerOf = (client: number): number => client + 1;

/** The owner that a client's slot for writing names: only with the model `direct`. */
export const writerOf = (client: number): number => WRITER | (client + 1);

/** Frees the slot of a dead client's reader in a tree, and what it had latched; if it is its own, for the client may have died before. */
export function freeReader(memory: WebAssembly.Memory, thread: number, client: number): void {
  const header = new Uint32Array(memory.buffer, 0, NODES >> 2);
  const word = (threadSlot(thread) + THREAD_STATE) >> 2;
  if (ownerOf(Atomics.load(header, word)) !== readerOf(client)) return;
  // It only read: what it may have latched, in a long scan, it has not changed.
  releaseScan(memory, thread);
  Atomics.store(header, word, THREAD_FREE);
}

/** Whose slot it is, by its state; 0 if nobody's. */
function ownerOf(state: number): number {
  return (state & THREAD_STATE_MASK) === THREAD_ALIVE ? state >>> THREAD_OWNER_SHIFT : 0;
}

/**
 * Has what a client has taken back if its thread is gone.
 * @param told whether somebody says that it is: that is believed where nobody can tell.
 * @param reap does it, for a thread that had the token.
 */
export function ifGone(streams: Streams, client: number, told: boolean, reap: (token: number) => void): void {
  const { words } = streams;
  const base = streams.client(client);
  const name = (base + CLIENT_THREAD) >> 2;
  const token = Atomics.load(words, name);
  if (token === 0 ? !told : threadLives(token)) return;
  // Looked at after: it may have moved the state just before its end.
  const state = Atomics.load(words, (base + CLIENT_STATE) >> 2);
  if (state === CLIENT_USED) reap(token);
  // It died while it came or went: the slot is nobody's, but under its name.
  else if (state === CLIENT_FREE) Atomics.compareExchange(words, name, token, 0);
}

/** Takes back what a client had whose thread, of that token, is gone. */
function reap(streams: Streams, memory: WebAssembly.Memory, client: number, token: number): void {
  const { words } = streams;
  if (Atomics.compareExchange(words, (streams.client(client) + CLIENT_THREAD) >> 2, token, threadToken()) !== token)
    return;
  const header = new Uint32Array(memory.buffer, 0, NODES >> 2);
  for (let thread = 1; thread < MAX_THREADS; thread++) {
    const owner = ownerOf(Atomics.load(header, (threadSlot(thread) + THREAD_STATE) >> 2));
    if (owner === readerOf(client)) freeReader(memory, thread, client);
    // What it was writing nobody can know: its latches stay, and its slot is taken when there is no other.
    if (owner === writerOf(client)) markThreadDead(header, thread);
  }
  Atomics.add(words, STREAMS_REAPED >> 2, 1);
  leaveClient(streams, client);
}

/** Takes back what a client of the model `direct` had whose thread is gone; see `ifGone`. */
export function reapDirect(streams: Streams, memory: WebAssembly.Memory, client: number, told: boolean): void {
  ifGone(streams, client, told, (token) => reap(streams, memory, client, token));
}

/** The same for all clients whose threads are known to be gone. */
export function reapDeadClients(streams: Streams, memory: WebAssembly.Memory): void {
  for (let client = 0; client < streams.shape.clients; client++) reapDirect(streams, memory, client, false);
}

/** Has this thread look after dead clients while it waits for a latch in a tree. */
export function reapWhileWaiting(attachment: Attachment, streams: Streams): void {
  let looked = 0;
  attachment.isStale = () => {
    const now = performance.now();
    if (now - looked >= LOOK_EVERY) {
      looked = now;
      reapDeadClients(streams, attachment.memory);
    }
    return false;
  };
}
