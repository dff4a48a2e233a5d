/**
 * The executor's thread: entry file. comlink carries the control plane only: `prepare`, `run`, and the end of `run`. While
 * it runs, the thread never comes back to its event loop, so nothing else can be asked of it that way; the store speaks to
 * it through the streams' control words.
 */

import { expose } from 'comlink';
import { loadGlobals, ownEndpoint } from '#platform';
import { Attachment } from '../engine/attachment.ts';
import { type MovedType, ValueCodec } from '../engine/values.ts';
import {
  EXECUTOR_KEPT,
  EXECUTOR_RUNNING,
  EXECUTOR_STATE,
  EXECUTOR_STOPPED,
  EXECUTOR_TREE_THREAD,
} from '../layout/streams.ts';
import { allocate } from './applier.ts';
import { CallRunner, tameClocks } from './call-runner.ts';
import { CommandTable, checkCommands, importCommands, schemaOf } from './command-table.ts';
import type { DefinedCommand } from './define-command.ts';
import { loadReplica } from './durable/load.ts';
import type { LoadPlan } from './durable/recovery.ts';
import { copyReplica } from './entries.ts';
import { type Failure, failureOf } from './failure.ts';
import { modelOf } from './models/index.ts';
import type { MixerName, ModelName, ModelThread, Rebuild } from './models/model.ts';
import { joinStreams } from './rebuild.ts';
import { Signals } from './signals.ts';
import { Streams } from './streams.ts';
import { type WaitName, waitStrategy } from './waiting.ts';

/** What an executor's thread is started with: structured-cloneable. */
export interface ExecutorConfig {
  readonly streams: SharedArrayBuffer;
  readonly memory: WebAssembly.Memory;
  /** The value type, or what its schema comes to, which an executor does not need. */
  readonly value: MovedType;
  readonly model: ModelName;
  readonly replica: number;
  /** Number of the thread in its replica. */
  readonly thread: number;
  readonly wait: WaitName;
  readonly mixer: MixerName;
  /** URLs of the modules of user-defined commands. */
  readonly commands: readonly string[];
  /** Milliseconds that one may take; 0: as long as it likes. */
  readonly commandTimeout: number;
  /** Most bytes of a value. */
  readonly maxValue: number;
  /** Present if the replica is being rebuilt. */
  readonly rebuild?: Rebuild;
  /** What the replica is loaded with before it begins. */
  readonly load?: LoadPlan;
  /** Memory of a loaded replica that this one is copied from before it begins. */
  readonly copied?: WebAssembly.Memory;
}

let thread: ModelThread | undefined;
let config: ExecutorConfig | undefined;
let streams: Streams | undefined;
let join: (() => boolean) | undefined;

/** Attaches, allocates and loads. Everything that can fail for lack of memory fails here, before the store opens. */
async function prepare(given: ExecutorConfig): Promise<Failure | undefined> {
  try {
    if (given.commands.length > 0) {
      loadGlobals();
      tameClocks();
    }
    // The user's modules first: they may fail, and nothing was taken yet.
    setUp(given, await importCommands(given.commands));
    return undefined;
  } catch (error) {
    return failureOf(error);
  }
}

function setUp(given: ExecutorConfig, commands: readonly DefinedCommand[]): void {
  config = given;
  streams = Streams.attach(given.streams);
  const { replica, rebuild } = given;
  const values = codecOf(given.value, commands);
  const attachment = new Attachment(
    given.memory,
    undefined,
    values.variable === undefined ? values : ValueCodec.opaque(given.value),
  );
  const own = streams.executor(replica, given.thread);
  // Should this thread be ended, its successor gets its slot and its areas.
  Atomics.store(streams.words, (own + EXECUTOR_TREE_THREAD) >> 2, attachment.thread);
  const model = modelOf(given.model);
  if (given.thread === 0 && streams.shape.replicas > 1) {
    Atomics.store(streams.words, (own + EXECUTOR_KEPT) >> 2, allocate(attachment, streams.shape.clients * 4));
  }
  checkCommands(commands, attachment.keyCode, values.signature);
  const table = new CommandTable(commands, attachment.keyCode, values);
  const wait = waitStrategy(given.wait, streams.roomy);
  const signals = new Signals(streams, replica, given.thread, wait);
  const rules = { limit: given.commandTimeout, longest: given.maxValue };
  const parts = {
    calls: new CallRunner(streams, attachment, values, table, signals, { ...rules, replayed: false }),
    streams,
    attachment,
    model,
    replica,
    thread: given.thread,
    wait,
    mixer: given.mixer,
    rebuild,
  };
  const made = model.thread(parts);
  thread = made;
  if (given.load !== undefined && given.thread === 0) {
    const replay = new CallRunner(streams, attachment, values, table, signals, { ...rules, replayed: true });
    loadReplica(streams, attachment, replica, given.load, replay, given.maxValue);
  }
  if (given.copied !== undefined) copyReplica(attachment, given.copied, replica);
  join = rebuild && (() => joinStreams({ ...parts, values: attachment.values }, rebuild, made.readers));
}

/** The codec of the store's values: of records only the commands have the schema, and without commands nobody needs it. */
function codecOf(type: ExecutorConfig['value'], commands: readonly DefinedCommand[]): ValueCodec {
  if (typeof type === 'string') return new ValueCodec(type);
  const schema = schemaOf(commands);
  if (schema === undefined) return ValueCodec.opaque(type);
  const codec = new ValueCodec(schema);
  const { signature } = type as { readonly signature: string };
  return codec.signature === signature ? codec : ValueCodec.opaque(type);
}

/** Executes until the store closes. @returns undefined, or why this thread, and with it the replica, cannot go on. */
function run(): Failure | undefined {
  if (thread === undefined || config === undefined || streams === undefined) throw new Error('run before prepare');
  const state = (streams.executor(config.replica, config.thread) + EXECUTOR_STATE) >> 2;
  Atomics.store(streams.words, state, EXECUTOR_RUNNING);
  try {
    if (join === undefined || join()) thread.run();
    return undefined;
  } catch (error) {
    return failureOf(error);
  } finally {
    Atomics.store(streams.words, state, EXECUTOR_STOPPED);
  }
}

/** The control plane of an executor's thread. */
export interface ExecutorControl {
  prepare(config: ExecutorConfig): Promise<Failure | undefined>;
  run(): Failure | undefined;
}

const control: ExecutorControl = { prepare, run };
expose(control, ownEndpoint());
