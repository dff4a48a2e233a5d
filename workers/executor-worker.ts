/**
 * The executor's thread: entry file. comlink carries the control plane only: `prepare`, `run`, and the end of `run`. While
 * it runs, the thread never comes back to its event loop, so nothing else can be asked of it that way; the store speaks to
 * it through the streams' control words.
 */

import { expose } from 'comlink';
import { ownEndpoint } from '#platform';
import { Attachment } from '../engine/attachment.ts';
import { SabtreeError } from '../engine/errors.ts';
import { ValueCodec, type ValueType } from '../engine/values.ts';
import {
  EXECUTOR_RUNNING,
  EXECUTOR_STATE,
  EXECUTOR_STOPPED,
  FAILURE_EXECUTOR,
  FAILURE_LATCH,
  FAILURE_MEMORY,
} from '../layout/streams.ts';
import { loseReplica } from './failure.ts';
import { modelOf } from './models/index.ts';
import type { MixerName, ModelName, ModelThread } from './models/model.ts';
import { Streams } from './streams.ts';
import { type WaitName, waitStrategy } from './waiting.ts';

/** What an executor's thread is started with: structured-cloneable. */
export interface ExecutorConfig {
  readonly streams: SharedArrayBuffer;
  readonly memory: WebAssembly.Memory;
  /** The value type, or the signature and size of the records, whose schema an executor does not need. */
  readonly value: ValueType | { readonly signature: string; readonly size: number };
  readonly model: ModelName;
  readonly replica: number;
  /** Number of the thread in its replica. */
  readonly thread: number;
  readonly wait: WaitName;
  readonly mixer: MixerName;
}

let thread: ModelThread | undefined;
let config: ExecutorConfig | undefined;
let streams: Streams | undefined;

/** An error as it crosses comlink, which would lose its class and code. */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

function failureOf(error: unknown): Failure {
  return {
    code: error instanceof SabtreeError ? error.code : 'ERR_EXECUTOR',
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
  };
}

/** Attaches and allocates. Everything that can fail for lack of memory fails here, before the store opens. */
function prepare(given: ExecutorConfig): Failure | undefined {
  try {
    setUp(given);
    return undefined;
  } catch (error) {
    return failureOf(error);
  }
}

function setUp(given: ExecutorConfig): void {
  config = given;
  streams = Streams.attach(given.streams);
  const values = ValueCodec.opaque(given.value);
  const attachment = new Attachment(given.memory, undefined, values);
  const model = modelOf(given.model);
  thread = model.thread({
    streams,
    attachment,
    model,
    replica: given.replica,
    thread: given.thread,
    wait: waitStrategy(given.wait, streams.roomy),
    mixer: given.mixer,
  });
}

/** Executes until the store closes. @returns undefined, or why the replica was lost. */
function run(): Failure | undefined {
  if (thread === undefined || config === undefined || streams === undefined) throw new Error('run before prepare');
  const { replica } = config;
  const state = (streams.executor(replica, config.thread) + EXECUTOR_STATE) >> 2;
  Atomics.store(streams.words, state, EXECUTOR_RUNNING);
  try {
    thread.run();
    return undefined;
  } catch (error) {
    const failure = failureOf(error);
    const why =
      failure.code === 'ERR_MEMORY_EXHAUSTED'
        ? FAILURE_MEMORY
        : failure.code === 'ERR_LATCH_LOST'
          ? FAILURE_LATCH
          : FAILURE_EXECUTOR;
    loseReplica(streams, replica, why);
    return failure;
  } finally {
    Atomics.store(streams.words, state, EXECUTOR_STOPPED);
  }
}

/** The control plane of an executor's thread. */
export interface ExecutorControl {
  prepare(config: ExecutorConfig): Failure | undefined;
  run(): Failure | undefined;
}

const control: ExecutorControl = { prepare, run };
expose(control, ownEndpoint());
