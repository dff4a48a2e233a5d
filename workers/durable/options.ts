/** The options of `open` that have to do with snapshots and the log, and where snapshots go to. */
import { files } from '#platform';
import { SabtreeError, show } from '../../engine/errors.ts';
import { pagesOf } from '../../engine/shape.ts';
import { PAGE } from '../../layout/bits.ts';
import type { Source } from './files.ts';
import type { Schema } from './frames.ts';
import { snapshotSource } from './load.ts';
import type { FsyncPolicy } from './log.ts';
import type { LogConfig } from './log-worker.ts';
import type { LoadPlan } from './recovery.ts';
import { SnapshotReader } from './snapshot.ts';

/** The option `log` of `open`. */
export interface LogOptions {
  /** Directory of the log, made if it is not there. One store at a time may have it. */
  readonly path: string | URL;
  /**
   * When the log is brought to the disk (fsync). 'always' (default): before any command in it is carried out or
   * answered; one fsync serves all commands that came meanwhile. 'interval': every `interval` milliseconds. 'never': when the
   * system likes, and at the end. Whatever the policy, a command has been given to the system before it is carried out: the
   * end of the process, by kill -9 too, loses nothing that was answered; only the end of the machine can, and under
   * 'always' that cannot either.
   */
  readonly fsync?: FsyncPolicy;
  /** Milliseconds between two fsyncs under 'interval', 1 to 3600000. Default 1000. */
  readonly interval?: number;
  /** Bytes of log, as a number or like '256MB', after which a snapshot replaces it; 0: never. Default 256MB. */
  readonly snapshotEvery?: number | string;
}

/** What the option `restore` of `open` takes: a file, or the bytes of a snapshot. */
export type SnapshotSource = string | URL | Uint8Array | AsyncIterable<Uint8Array>;

/** A writable of Node.js, as far as a snapshot needs it. */
export interface NodeWritable {
  /** Takes a piece; calls back when it has it. */
  write(chunk: Uint8Array, done: (error?: Error | null) => void): unknown;
  /** Listens to 'error' and 'close', if it has them. */
  on?(event: string, listener: (error: Error) => void): unknown;
  /** Ends that. */
  off?(event: string, listener: (error: Error) => void): unknown;
}

/** Where a snapshot can go: a file, a writable stream of Node.js or of the web. Streams are not ended. */
export type SnapshotTarget = string | URL | NodeWritable | WritableStream<Uint8Array>;

const LOG_OPTIONS = new Set(['path', 'fsync', 'interval', 'snapshotEvery']);

/** A path as the platform takes it; undefined if it is none. @throws ERR_UNSUPPORTED where there are no files */
export function pathOf(path: unknown): string | undefined {
  if (typeof path === 'string') return path === '' ? undefined : files.pathOf(path);
  if (!(path instanceof URL) || path.protocol !== 'file:') return undefined;
  return files.pathOf(path);
}

function refuse(name: string, wanted: string, value: unknown): never {
  throw new SabtreeError('ERR_OPTION', `option ${name} must be ${wanted}, got ${show(value)}`, value);
}

/** Checks the option `log`. @throws ERR_OPTION */
export function logConfig(log: LogOptions | undefined, replicated: boolean): LogConfig | undefined {
  if (log === undefined) return undefined;
  if (typeof log !== 'object' || log === null) refuse('log', 'an object with a path', log);
  if (!replicated) {
    throw new SabtreeError('ERR_OPTION', 'option log: the model direct has no order that could be logged', log);
  }
  for (const name of Object.keys(log)) {
    if (!LOG_OPTIONS.has(name)) throw new SabtreeError('ERR_OPTION', `unknown option log.${name}`, name);
  }
  const directory = pathOf(log.path);
  if (directory === undefined) refuse('log.path', 'a path or a file URL', log.path);
  const { fsync = 'always', interval = 1000, snapshotEvery = '256MB' } = log;
  if (fsync !== 'always' && fsync !== 'interval' && fsync !== 'never') {
    refuse('log.fsync', 'always, interval or never', fsync);
  }
  if (typeof interval !== 'number' || !(interval >= 1 && interval <= 3_600_000)) {
    refuse('log.interval', 'a number of milliseconds from 1 to 3600000', interval);
  }
  return { directory, fsync, interval, snapshotEvery: bytesOf(snapshotEvery) };
}

/** Bytes of the option `log.snapshotEvery`. */
function bytesOf(given: number | string): number {
  if (given === 0) return 0;
  if (typeof given === 'number') {
    if (Number.isInteger(given) && given >= 4096) return given;
    refuse('log.snapshotEvery', '0 or an integer of bytes from 4096', given);
  }
  return pagesOf(given, 'log.snapshotEvery') * PAGE;
}

/**
 * Takes a snapshot to be restored, and looks at its header.
 * @throws ERR_OPTION, ERR_SNAPSHOT_CORRUPT, ERR_LAYOUT_VERSION, ERR_SCHEMA_MISMATCH, ERR_IO
 */
export async function restoreFrom(restore: SnapshotSource, schema: Schema): Promise<NonNullable<LoadPlan['snapshot']>> {
  const snapshot = await take(restore);
  const source: Source = snapshotSource(snapshot);
  try {
    new SnapshotReader(source, schema);
  } finally {
    source.close();
  }
  return snapshot;
}

async function take(restore: SnapshotSource): Promise<NonNullable<LoadPlan['snapshot']>> {
  const file = pathOf(restore);
  if (file !== undefined) return { file };
  if (restore instanceof Uint8Array) return { bytes: shared([restore]) };
  if (typeof restore === 'object' && restore !== null && Symbol.asyncIterator in restore) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of restore as AsyncIterable<Uint8Array>) {
      if (!(chunk instanceof Uint8Array)) refuse('restore', 'a stream of bytes', chunk);
      chunks.push(chunk);
    }
    return { bytes: shared(chunks) };
  }
  refuse('restore', 'a path, a file URL, a Uint8Array or a stream of them', restore);
}

/** The bytes in memory that all threads can read. */
function shared(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(chunks.reduce((sum, { length }) => sum + length, 0)));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Where the bytes of a snapshot go that is not written into a file. */
export interface SnapshotWriter {
  /** Resolves once the target has taken a piece. @throws what it fails with; ERR_IO if it is closed meanwhile */
  write(chunk: Uint8Array): Promise<void>;
  /** Looks at the target no more. */
  leave(): void;
}

/** Writes to a writable of Node.js. */
class NodeWriter implements SnapshotWriter {
  private readonly target: NodeWritable;
  private failure: { readonly reason: unknown } | undefined;
  private refuse: ((reason: unknown) => void) | undefined;

  constructor(target: NodeWritable) {
    this.target = target;
    // A stream tells of a failure by an event too, which ends the process if nobody listens; and one that is destroyed while
    // it holds a piece need not call back.
    target.on?.('error', this.fail);
    target.on?.('close', this.close);
  }

  private readonly fail = (reason: unknown) => {
    this.failure ??= { reason };
    this.refuse?.(reason);
  };

  private readonly close = () => {
    this.fail(new SabtreeError('ERR_IO', 'the stream was closed before the whole snapshot was written to it'));
  };

  write(chunk: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) throw this.failure.reason;
      this.refuse = reject;
      this.target.write(chunk, (error) => (error ? this.fail(error) : resolve()));
    });
  }

  leave(): void {
    const { target } = this;
    target.off?.('close', this.close);
    // The event comes behind the callback.
    if (this.failure === undefined) target.off?.('error', this.fail);
  }
}

/** Writes to a writable of the web. */
class WebWriter implements SnapshotWriter {
  private readonly target: WritableStream<Uint8Array>;

  constructor(target: WritableStream<Uint8Array>) {
    this.target = target;
  }

  async write(chunk: Uint8Array): Promise<void> {
    const writer = this.target.getWriter();
    try {
      await writer.write(chunk);
    } finally {
      writer.releaseLock();
    }
  }

  leave(): void {}
}

/**
 * What writes bytes to a target that is not a file; undefined for one that is.
 * @throws ERR_ARGUMENT if it is neither.
 */
export function writerTo(target: SnapshotTarget): SnapshotWriter | undefined {
  if (pathOf(target) !== undefined) return undefined;
  if (typeof target === 'object' && target !== null) {
    const { write, getWriter } = target as Partial<NodeWritable & WritableStream<Uint8Array>>;
    if (typeof getWriter === 'function') return new WebWriter(target as WritableStream<Uint8Array>);
    if (typeof write === 'function') return new NodeWriter(target as NodeWritable);
  }
  throw new SabtreeError(
    'ERR_ARGUMENT',
    `a snapshot goes to a path or a writable stream, not to ${show(target)}`,
    target,
  );
}
