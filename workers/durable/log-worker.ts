/**
 * The log's thread: entry file. comlink carries `open`, `run` and the end of `run`; while it runs, the thread does not come
 * back to its event loop.
 */
import { expose } from 'comlink';
import { files, ownEndpoint } from '#platform';
import { LOG_ERROR, LOG_ERROR_TEXT } from '../../layout/durable.ts';
import { type Failure, failureOf } from '../failure.ts';
import { Streams } from '../streams.ts';
import { type WaitName, waitStrategy } from '../waiting.ts';
import type { Schema } from './frames.ts';
import { lockDirectory } from './lock.ts';
import { type FsyncPolicy, LogWriter } from './log.ts';
import { type Recovery, recover } from './recovery.ts';

/** What the log is opened with: structured-cloneable. */
export interface LogConfig {
  readonly directory: string;
  readonly fsync: FsyncPolicy;
  /** Milliseconds between two times that the log is brought to the disk. */
  readonly interval: number;
  /** Bytes of log that a snapshot is made for; 0: none is. */
  readonly snapshotEvery: number;
}

let unlock: (() => void) | undefined;
let writer: LogWriter | undefined;
let streams: Streams | undefined;
let wait: WaitName = 'park';

/** Most bytes of the text of an error. */
const TEXT = 240;

function note(message: string): void {
  if (streams === undefined) return;
  const { bytes, words, durableAt } = streams;
  const { written } = new TextEncoder().encodeInto(message, noted);
  bytes.set(noted.subarray(0, written), durableAt + LOG_ERROR_TEXT);
  Atomics.store(words, (durableAt + LOG_ERROR) >> 2, written);
}
const noted = new Uint8Array(TEXT);

const control = {
  /** Takes the directory, and finds out what is in it. */
  open(config: LogConfig, schema: Schema, memory: SharedArrayBuffer, how: WaitName): Recovery | Failure {
    try {
      streams = Streams.attach(memory);
      wait = how;
      files.makeDirectory(config.directory);
      unlock = lockDirectory(files, config.directory);
      const found = recover(files, config.directory, schema);
      writer = new LogWriter(streams, files, found.start, schema, config.fsync, config.interval);
      return found;
    } catch (error) {
      unlock?.();
      return failureOf(error);
    }
  },
  /** Writes what was given up while replicas were loaded with what the log has. */
  loaded(): Failure | undefined {
    try {
      writer?.noteGivenUp();
      return undefined;
    } catch (error) {
      return failureOf(error);
    }
  },
  /** Writes the log until the store ends. @returns why it could not go on */
  run(): Failure | undefined {
    if (writer === undefined || streams === undefined) throw new Error('run before open');
    try {
      writer.run(waitStrategy(wait, streams.roomy));
      return undefined;
    } catch (error) {
      const failure = failureOf(error);
      note(failure.message.split('\n')[0]);
      return failure;
    } finally {
      unlock?.();
    }
  },
  /** Gives the directory back: the store did not come about. */
  abandon(): void {
    try {
      writer?.close();
    } finally {
      unlock?.();
    }
  },
};

export type LogControl = typeof control;

expose(control, ownEndpoint());
