/**
 * Carries user-defined commands out in one replica: each alone, on the tree as it is at the command's place of the order.
 *
 * A command that takes too long is stopped, but how long it takes differs between replicas. So what it came to is *decided*
 * once for all of them: a word of the streams' memory, found by the command's place in its stream, takes the first replica's
 * word for it. Who has run it to its end and finds that it was given up forgets what it did; who has given it up and finds
 * that another has not runs it again, with more time.
 */
import { guarded } from '#platform';
import type { Attachment } from '../engine/attachment.ts';
import { SabtreeError } from '../engine/errors.ts';
import { type KeyOrder, keyOrder } from '../engine/key-order.ts';
import type { ValueCodec } from '../engine/values.ts';
import { StoredKey } from '../engine/variable-keys.ts';
import {
  CALL_ARGUMENTS,
  CALL_COMMAND,
  CALL_LENGTH,
  MANY_KEYS,
  OPERATION_FLAGS,
  OPERATION_RUN,
  OPERATION_WATCHED,
  OPERATION_WATCHED_GROUP,
  STATUS_COMMAND_FAILED,
  STATUS_TRUE,
  STATUS_UNKNOWN_COMMAND,
} from '../layout/operation.ts';
import { VERDICT_DONE, VERDICT_GIVEN_UP } from '../layout/streams.ts';
import { readStep } from './built-in-commands.ts';
import { BytesReader } from './bytes.ts';
import { CallContext, type Write } from './call-context.ts';
import {
  type CommandFailure,
  encodeFailure,
  MOST_RESULT,
  mostAnswer,
  type Payload,
  readCall,
  ValuePayload,
} from './call-record.ts';
import type { CommandTable, RunnableCommand } from './command-table.ts';
import type { Streams } from './streams.ts';
import { pointStep } from './variable-commands.ts';
import { logBytes } from './watch-memory.ts';

/** How much longer a command may take that another replica has finished, or that was finished before. */
const MORE = 10;
/** Times it is tried again like this. */
const TRIES = 3;

/** What a command came to. */
export interface Outcome {
  readonly status: number;
  readonly payload: Uint8Array;
  /** What it has changed. */
  readonly changed: readonly Write[];
}

/** How a run of a command ended. */
type Ended = { readonly payload: Uint8Array } | { readonly failure: CommandFailure };

const NOTHING: readonly Write[] = [];
const NO_BYTES = new Uint8Array(0);

/** The command that runs in this thread now: what the clock and the dice of the language answer. */
let running: CallContext | undefined;

/**
 * In an executor's thread only commands are foreign: while one runs, time and chance are those of the command. Called before the
 * commands' modules are imported, for libraries keep what they find of these.
 */
export function tameClocks(): void {
  const { random } = Math;
  const { now } = Date;
  Math.random = () => (running === undefined ? random() : running.random());
  Date.now = () => (running === undefined ? now() : running.time);
  globalThis.Date = new Proxy(Date, {
    // Without arguments it is the present, as a date; called as a function, as a text.
    construct: (target, args, made) => Reflect.construct(target, args.length === 0 ? [target.now()] : args, made),
    apply: (target) => new target(target.now()).toString(),
  });
  Date.prototype.constructor = Date;
}

/** One thread's way to run commands. */
export class CallRunner {
  private readonly streams: Streams;
  private readonly attachment: Attachment;
  private readonly table: CommandTable;
  private readonly limit: number;
  private readonly order: KeyOrder;
  private readonly values: Payload;
  private readonly replayed: boolean;
  /** Bytes of changes that fit into the log at once, and leave room for others. */
  private readonly room: number;

  /**
   * @param values what the user's commands see; of records it may be opaque. @param limit milliseconds that a command may take.
   * @param replayed whether the commands are carried out again, from a log: they were decided on before.
   */
  constructor(
    streams: Streams,
    attachment: Attachment,
    values: ValueCodec,
    table: CommandTable,
    limit: number,
    replayed: boolean,
  ) {
    this.streams = streams;
    this.attachment = attachment;
    this.table = table;
    this.limit = replayed ? MORE * limit : limit;
    this.replayed = replayed;
    this.order = keyOrder(attachment.keyCode);
    this.values = new ValuePayload(values);
    this.room = logBytes(streams.shape.ringSlots) >> 2;
  }

  /**
   * Runs the command whose record stands at `address`, and puts its writes into the tree.
   * @throws what makes the replica unable to go on; ERR_UNKNOWN_COMMAND when a log names a command that there is not
   */
  run(memory: Uint8Array, words: Int32Array, address: number): Outcome {
    const hash = words[(address + CALL_COMMAND) >> 2];
    const command = this.table.get(hash);
    if (command === undefined) {
      if (this.replayed) {
        const name = (hash >>> 0).toString(16);
        throw new SabtreeError(
          'ERR_UNKNOWN_COMMAND',
          `the log has a user-defined command (hash ${name}) that option commands does not name`,
          name,
        );
      }
      return { status: STATUS_UNKNOWN_COMMAND, payload: NO_BYTES, changed: NOTHING };
    }
    if (command.point) return this.point(memory, words, address);
    const call = readCall(memory, words, address, this.order);
    for (let tries = 0, limit = this.limit; tries <= TRIES; tries++, limit *= MORE) {
      const context = new CallContext(this.attachment, this.values, call, command.readOnly, this.room);
      const ended = this.execute(command, context, call.bytes, limit);
      const done = ended !== undefined;
      const agreed = command.foreign && !command.readOnly ? this.decide(memory, words, address, done) : done;
      if (!agreed) return failed({ code: 'ERR_COMMAND_TIMEOUT', message: this.timeout(command) });
      if (ended === undefined) continue;
      return 'failure' in ended
        ? failed(ended.failure)
        : { status: STATUS_TRUE, payload: ended.payload, changed: context.commit() };
    }
    throw new SabtreeError(
      'ERR_TIMEOUT',
      `${command.name} does not end here, but did in another replica`,
      command.name,
    );
  }

  /** One operation on one key: nothing of it needs a context, and it cannot fail. */
  private point(memory: Uint8Array, words: Int32Array, address: number): Outcome {
    const { order, attachment } = this;
    const tail = address + MANY_KEYS + 8;
    const from = tail + CALL_ARGUMENTS;
    const reader = new BytesReader(memory.subarray(from, from + words[(tail + CALL_LENGTH) >> 2]));
    const low = words[(address + MANY_KEYS) >> 2] >>> 0;
    const high = words[(address + MANY_KEYS + 4) >> 2] >>> 0;
    const key = order.varies ? new StoredKey(reader.block()) : order.restore(low, high);
    const watched = (memory[address + OPERATION_FLAGS] & OPERATION_WATCHED) !== 0;
    return { status: STATUS_TRUE, ...pointStep(attachment, key, readStep(reader), watched) };
  }

  private timeout({ name }: RunnableCommand): string {
    return `${name} was stopped after ${this.limit} ms (commandTimeout); nothing was written`;
  }

  /** Runs it to its end, or to its limit: then undefined. */
  private execute(command: RunnableCommand, context: CallContext, bytes: Uint8Array, limit: number): Ended | undefined {
    const { name, args, result, maxResult, foreign, readOnly } = command;
    const end: { outcome?: Ended } = {};
    const body = () => {
      try {
        const given = command.execute(context, args.decode(bytes));
        if (isThenable(given)) throw new SabtreeError('ERR_VALUE', 'it returned a promise, but run is synchronous');
        const payload = result.encode(given).slice();
        const most = foreign ? maxResult : readOnly ? mostAnswer(this.streams.shape.replyBytes) : MOST_RESULT;
        if (payload.length <= most) end.outcome = { payload };
        else {
          const what = foreign ? `maxResult is ${most}` : `at most ${most} fit into an answer`;
          const message = `${name}: its result takes ${payload.length} bytes, ${what}`;
          end.outcome = { failure: { code: foreign ? 'ERR_COMMAND_FAILED' : 'ERR_TOO_LARGE', message } };
        }
      } catch (error) {
        // Looked at here, under guard: what was thrown may be anything.
        end.outcome = { failure: failureOf(command, error) };
      }
    };
    let ended = true;
    running = context;
    try {
      if (foreign && limit > 0) ended = guarded(limit, body);
      else body();
    } finally {
      running = undefined;
      context.end();
    }
    if (context.broken !== undefined) throw context.broken;
    if (!ended) return undefined;
    if (context.fault === undefined) return end.outcome;
    const { code, message } = context.fault;
    return { failure: { code, message: `${name}: ${message}` } };
  }

  /** Whether the command takes effect: what one replica has said first holds for all. */
  private decide(memory: Uint8Array, words: Int32Array, address: number, done: boolean): boolean {
    const { streams } = this;
    if (this.replayed || streams.shape.replicas === 1) return done;
    const group = memory[address + OPERATION_FLAGS] & OPERATION_WATCHED_GROUP;
    const position = words[(address + OPERATION_RUN) >> 2];
    return streams.decide(group, position, done ? VERDICT_DONE : VERDICT_GIVEN_UP) === VERDICT_DONE;
  }
}

function failed(failure: CommandFailure): Outcome {
  return { status: STATUS_COMMAND_FAILED, payload: encodeFailure(failure), changed: NOTHING };
}

function isThenable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/** What a command threw, as its caller is told. */
function failureOf({ name }: RunnableCommand, thrown: unknown): CommandFailure {
  // A thrown object may be anything; whatever it does while it is looked at must not hurt.
  try {
    if (thrown instanceof Error) {
      const { code } = thrown as { code?: unknown };
      return {
        code: 'ERR_COMMAND_FAILED',
        message: `${name}: ${thrown.message}`,
        thrown: {
          name: String(thrown.name),
          ...((typeof code === 'string' || typeof code === 'number') && { code }),
        },
      };
    }
    return { code: 'ERR_COMMAND_FAILED', message: `${name} threw ${String(thrown)}` };
  } catch {
    return { code: 'ERR_COMMAND_FAILED', message: `${name} threw something that cannot be shown` };
  }
}
