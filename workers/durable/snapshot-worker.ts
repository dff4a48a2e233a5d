/**
 * A snapshot's thread: entry file. It copies a replica that stands still, lets it go on, and writes the copy while commands
 * go on.
 */
import { expose } from 'comlink';
import { files, ownEndpoint } from '#platform';
import { Attachment } from '../../engine/attachment.ts';
import { SabtreeError } from '../../engine/errors.ts';
import { treeDigest, treeSize } from '../../engine/stats.ts';
import { type MovedType, ValueCodec } from '../../engine/values.ts';
import {
  LOG_CUT,
  LOG_CUT_COMMANDS,
  LOG_CUT_SEGMENT,
  SNAPSHOT_COPIED,
  SNAPSHOT_NUMBER,
  SNAPSHOT_REACHED,
} from '../../layout/durable.ts';
import { STATE_READ_ONLY } from '../../layout/streams.ts';
import { copyEntries } from '../entries.ts';
import { type Failure, failureOf } from '../failure.ts';
import { Streams } from '../streams.ts';
import type { Schema } from './frames.ts';
import { replaceBy } from './recovery.ts';
import { type Content, describe, type SnapshotInfo, snapshotFrames, writeSnapshot } from './snapshot.ts';

/** What a snapshot is made of: structured-cloneable. */
export interface SnapshotConfig {
  readonly streams: SharedArrayBuffer;
  /** Memory of the replica that is copied. */
  readonly memory: WebAssembly.Memory;
  readonly value: MovedType;
  readonly schema: Schema;
  readonly source: number;
  /** Number of the snapshot. */
  readonly number: number;
}

/** What a copy came to. */
export interface Copied {
  readonly info: SnapshotInfo;
  /** The log's segment that begins at the cut. */
  readonly segment: number;
}

let config: SnapshotConfig | undefined;
let streams: Streams | undefined;
let attachment: Attachment | undefined;
let content: Content | undefined;
let info: SnapshotInfo | undefined;
let chunks: Generator<Uint8Array> | undefined;

/** Bytes handed on at once to whoever writes a snapshot himself. */
const CHUNK = 1 << 20;

function copy(at: SnapshotConfig, from: Attachment, shared: Streams, cut: number): Copied {
  const { words, durableAt, shape } = shared;
  const word = (offset: number) => (durableAt + offset) >> 2;
  const generation = shared.generation(at.source);
  const lives = () =>
    ((shared.alive >>> at.source) & 1) !== 0 &&
    shared.generation(at.source) === generation &&
    Atomics.load(words, word(SNAPSHOT_NUMBER)) === at.number;
  const going = () => {
    if (shared.state > STATE_READ_ONLY) throw new SabtreeError('ERR_CLOSED', 'the store ended during a snapshot');
    if (!lives()) throw new SabtreeError('ERR_REPLICAS_LOST', 'the replica was lost while it was copied', at.source);
  };
  for (;;) {
    const reached = Atomics.load(words, word(SNAPSHOT_REACHED));
    if (reached === at.number) break;
    going();
    Atomics.wait(words, word(SNAPSHOT_REACHED), reached, 10);
  }
  const pieces = copyEntries(from, going);
  const copied: Content = { pieces, entries: treeSize(from), digest: treeDigest(from) };
  // Only what was copied while the replica stood there counts.
  going();
  Atomics.store(words, word(SNAPSHOT_COPIED), at.number);
  Atomics.notify(words, word(SNAPSHOT_COPIED));
  const entries = pieces.reduce((sum, { count }) => sum + count, 0);
  if (entries !== copied.entries) {
    throw new SabtreeError('ERR_CORRUPT', `replica ${at.source} has ${entries} entries and counts ${copied.entries}`);
  }
  const logged = shape.logged && Atomics.load(words, word(LOG_CUT)) === at.number;
  const position = logged ? new Float64Array(shared.memory, durableAt + LOG_CUT_COMMANDS, 1)[0] : undefined;
  content = copied;
  info = describe(at.schema, copied, cut, position);
  return { info, segment: words[word(LOG_CUT_SEGMENT)] };
}

/** The copy, and what it says of itself. */
function made(): { readonly pieces: Content['pieces']; readonly about: SnapshotInfo } {
  if (content === undefined || info === undefined) throw new Error('there is no copy yet');
  return { pieces: content.pieces, about: info };
}

const control = {
  /** Attaches to the replica. */
  prepare(given: SnapshotConfig): Failure | undefined {
    try {
      config = given;
      streams = Streams.attach(given.streams);
      attachment = new Attachment(given.memory, undefined, ValueCodec.opaque(given.value));
      return undefined;
    } catch (error) {
      return failureOf(error);
    }
  },
  /** Copies the replica once it stands at the cut. @param cut the command's number in the order */
  copy(cut: number): Copied | Failure {
    if (config === undefined || streams === undefined || attachment === undefined)
      throw new Error('copy before prepare');
    try {
      return copy(config, attachment, streams, cut);
    } catch (error) {
      return failureOf(error);
    } finally {
      attachment.detach();
    }
  },
  /** Writes the copy into a file. @returns its bytes */
  write(path: string): number | Failure {
    try {
      const { pieces, about } = made();
      return writeSnapshot(files, path, about, pieces);
    } catch (error) {
      return failureOf(error);
    }
  },
  /** Makes the copy the snapshot of a log's directory, and removes what it covers. @returns its bytes */
  replace(directory: string, segment: number): number | Failure {
    try {
      const { pieces, about } = made();
      return replaceBy(files, directory, segment, about, pieces);
    } catch (error) {
      return failureOf(error);
    }
  },
  /** The next bytes of the copy, for whoever writes them himself; undefined behind the last ones. */
  next(): Uint8Array | undefined {
    const { pieces, about } = made();
    chunks ??= snapshotFrames(about, pieces);
    let chunk = new Uint8Array(CHUNK);
    let filled = 0;
    while (filled < CHUNK) {
      const { value: frame, done } = chunks.next();
      if (done) break;
      if (filled + frame.length > chunk.length) {
        const larger = new Uint8Array(filled + frame.length);
        larger.set(chunk.subarray(0, filled));
        chunk = larger;
      }
      chunk.set(frame, filled);
      filled += frame.length;
    }
    return filled === 0 ? undefined : chunk.slice(0, filled);
  },
};

export type SnapshotControl = typeof control;

expose(control, ownEndpoint());
