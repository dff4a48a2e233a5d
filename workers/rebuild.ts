/**
 * The rebuilding of a replica, in its own threads: they begin behind a cut, at which another replica stands still; thread 0
 * copies that one's content, lets it go on, and loads the copy. What comes meanwhile is taken aside (RingReader.hoard),
 * so that neither the other replicas nor the writers wait for the load.
 */
import { Attachment } from '../engine/attachment.ts';
import { SabtreeError } from '../engine/errors.ts';
import { treeDigest } from '../engine/stats.ts';
import type { ValueCodec } from '../engine/values.ts';
import {
  KEPT_ANSWERED,
  KEPT_BLOB,
  KEPT_BLOB_LENGTH,
  KEPT_PLACES,
  KEPT_SEQUENCE,
  KEPT_SIZE,
  KEPT_STATUS,
} from '../layout/operation.ts';
import {
  CLIENT_ANSWERED,
  CUT_COPIED,
  CUT_LOADED,
  CUT_REACHED,
  CUT_SOURCE,
  CUT_TAKEN,
  EXECUTOR_KEPT,
  STATE_READ_ONLY,
  VERIFY_MADE,
  VERIFY_TAKEN,
} from '../layout/streams.ts';
import { BLOB_BYTES } from '../layout/tree-memory.ts';
import { checkCopy, copyEntries, loadEntries, type Piece } from './entries.ts';
import type { Rebuild } from './models/model.ts';
import type { RingReader } from './ring.ts';
import { Signals } from './signals.ts';
import type { Streams } from './streams.ts';
import type { WaitStrategy } from './waiting.ts';

/** What a thread that joins has. */
export interface JoinParts {
  readonly streams: Streams;
  readonly attachment: Attachment;
  readonly values: ValueCodec;
  readonly replica: number;
  readonly thread: number;
  readonly wait: WaitStrategy;
}

/**
 * Makes a thread of a replica that is rebuilt ready to execute what stands behind the cut.
 * @returns false if the store is closing or the replica was lost again.
 * @throws ERR_MEMORY_EXHAUSTED, ERR_CORRUPT
 */
export function joinStreams(parts: JoinParts, rebuild: Rebuild, readers: readonly RingReader[]): boolean {
  const { streams, replica, thread } = parts;
  const { words } = streams;
  const { number } = rebuild;
  const going = () => streams.state <= STATE_READ_ONLY && ((streams.alive >>> replica) & 1) !== 0;
  const skipping = new Set(readers);
  for (const reader of readers) reader.rewind();
  const follow = () => {
    for (const reader of skipping) if (reader.skipPast(number)) skipping.delete(reader);
    for (const reader of readers) if (!skipping.has(reader)) reader.hoard();
  };
  // What execute-verify's replicas wait for each other for (see `VERIFY_TAKEN`): the batches before the cut are none of this
  // replica's, and nobody may wait for it to take them, for then they might never come to the cut.
  const taken = (streams.verifyAt + VERIFY_TAKEN + replica * 64) >> 2;
  const signals = new Signals(streams, replica, thread, parts.wait);
  const passCuts = () => {
    Atomics.store(words, taken, Atomics.load(words, (streams.verifyAt + VERIFY_MADE) >> 2));
    for (let other = 0; other < streams.shape.replicas; other++) if (other !== replica) signals.wake(0, other);
  };
  const waitFor = (word: number, meanwhile = () => {}): boolean => {
    for (;;) {
      follow();
      if (Atomics.load(words, word >> 2) !== number) meanwhile();
      const value = Atomics.load(words, word >> 2);
      if (value === number && skipping.size === 0) return true;
      if (!going()) return false;
      Atomics.wait(words, word >> 2, value, value === number ? 0.2 : 1);
    }
  };
  if (thread !== 0) return waitFor(CUT_LOADED);
  if (!waitFor(CUT_REACHED, passCuts)) return false;
  // From here on they are its own. The source stands, so none of them was made over meanwhile.
  Atomics.store(words, taken, words[CUT_TAKEN >> 2]);
  const copy = copySource(parts, rebuild, follow);
  Atomics.store(words, CUT_COPIED >> 2, number);
  Atomics.notify(words, CUT_COPIED >> 2);
  loadEntries(parts.attachment, copy.pieces, follow);
  checkCopy(parts.attachment, copy.digest, replica);
  Atomics.store(words, CUT_LOADED >> 2, number);
  Atomics.notify(words, CUT_LOADED >> 2);
  return going();
}

/** Copies the entries and kept answers of the replica that stands at the cut. */
function copySource(parts: JoinParts, { source }: Rebuild, follow: () => void): { pieces: Piece[]; digest: bigint } {
  const from = new Attachment(source, undefined, parts.values);
  try {
    const pieces = copyEntries(from, follow);
    copyKept(parts, source);
    return { pieces, digest: treeDigest(from) };
  } finally {
    from.detach();
  }
}

/** Copies the kept answers; here they count as not answered. */
function copyKept(parts: JoinParts, source: WebAssembly.Memory): void {
  const { streams, attachment, replica } = parts;
  const { words, shape } = streams;
  const { core, memory } = attachment;
  const from = Atomics.load(words, (streams.executor(words[CUT_SOURCE >> 2], 0) + EXECUTOR_KEPT) >> 2);
  const to = Atomics.load(words, (streams.executor(replica, 0) + EXECUTOR_KEPT) >> 2);
  source.grow(0);
  const theirs = new Uint32Array(source.buffer);
  for (let client = 0; client < shape.clients; client++) {
    const table = theirs[(from >> 2) + client];
    if (table === 0) continue;
    const answered = Atomics.load(words, (streams.client(client) + CLIENT_ANSWERED) >> 2);
    const mine = core.allocateBlock(KEPT_PLACES * KEPT_SIZE);
    if (mine === 0) throw new SabtreeError('ERR_MEMORY_EXHAUSTED', `replica ${replica} has no memory for kept answers`);
    memory.grow(0);
    const own = new Uint32Array(memory.buffer);
    own.set(theirs.subarray(table >> 2, (table + KEPT_PLACES * KEPT_SIZE) >> 2), mine >> 2);
    for (let place = 0; place < KEPT_PLACES; place++) {
      const entry = mine + place * KEPT_SIZE;
      own[(entry + KEPT_STATUS) >> 2] &= ~KEPT_ANSWERED;
      const reference = (entry + KEPT_BLOB) >> 2;
      const blob = own[reference];
      const length = own[reference + 1] & KEPT_BLOB_LENGTH;
      own[reference] = own[reference + 1] = 0;
      // What the client has by now nobody asks for.
      const awaited = ((own[(entry + KEPT_SEQUENCE) >> 2] - answered) | 0) >= 0;
      if (blob !== 0 && awaited) copyResult(parts, theirs, blob, entry, length);
    }
    own[(to >> 2) + client] = mine;
  }
}

/** Copies a kept payload of more than 8 bytes from another replica's blob. */
function copyResult(
  { attachment, replica }: JoinParts,
  theirs: Uint32Array,
  blob: number,
  entry: number,
  length: number,
): void {
  const at = attachment.core.keepBlob(entry, length) >>> 0;
  if (at === 0) throw new SabtreeError('ERR_MEMORY_EXHAUSTED', `replica ${replica} has no memory for kept answers`);
  attachment.memory.grow(0);
  const from = new Uint8Array(theirs.buffer, blob + BLOB_BYTES, length);
  new Uint8Array(attachment.memory.buffer, at, length).set(from);
}
