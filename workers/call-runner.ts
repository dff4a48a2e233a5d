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
import { releaseScan } from '../engine/reset.ts';
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
import { Attempt } from './call-attempt.ts';
import { CallContext, type Write } from './call-context.ts';
import { type CommandFailure, encodeFailure, type Payload, readCall, ValuePayload } from './call-record.ts';
import type { CommandTable, RunnableCommand } from './command-table.ts';
import type { Signals } from './signals.ts';
import type { Streams } from './streams.ts';
import { pointStep } from './variable-commands.ts';
import { Verdicts } from './verdicts.ts';
import { logBytes } from './watch-memory.ts';

/** How much longer a command may take that another replica has finished, or that was finished before. */
const MORE = 10;
/** Times it is tried again like this. */
const TRIES = 3;
/** Milliseconds that a command of a log may take at least: most of them ended in less when they stood there first. */
const REPLAY_MS = 5_000;
/** Milliseconds after which no further command is run together with those before: they wait for their answers. */
const TOGETHER_MS = 1;

/** What a command came to. */
export interface Outcome {
  readonly status: number;
  readonly payload: Uint8Array;
  /** What it has changed. */
  readonly changed: readonly Write[];
}

const NOTHING: readonly Write[] = [];
const NO_BYTES = new Uint8Array(0);

/** What commands are held to. */
export interface CallRules {
  /** Milliseconds that one may take; 0: as long as it likes. */
  readonly limit: number;
  /** Most bytes of a value that one writes. */
  readonly longest: number;
  /** Whether they are carried out again, from a log: then they were decided on before, but perhaps for the last ones. */
  readonly replayed: boolean;
}

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
  private readonly verdicts: Verdicts;
  private readonly signals: Signals;
  /** Bytes of changes that fit into the log at once, and leave room for others. */
  private readonly room: number;

  /** @param values what the user's commands see; of records it may be opaque. @param signals this thread's. */
  constructor(
    streams: Streams,
    attachment: Attachment,
    values: ValueCodec,
    table: CommandTable,
    signals: Signals,
    { limit, longest, replayed }: CallRules,
  ) {
    this.streams = streams;
    this.attachment = attachment;
    this.table = table;
    this.signals = signals;
    this.limit = replayed && limit > 0 ? Math.max(REPLAY_MS, MORE * limit) : limit;
    this.replayed = replayed;
    this.order = keyOrder(attachment.keyCode);
    // What a log holds was taken when it was given; what is too long for this store is looked for when all is loaded.
    this.values = new ValuePayload(values, replayed ? Number.POSITIVE_INFINITY : longest);
    this.verdicts = new Verdicts(streams);
    this.room = logBytes(streams.shape.ringSlots) >> 2;
  }

  /** Whether the command of a record runs under guard; `runTogether` takes such commands. */
  isGuarded(words: Int32Array, address: number): boolean {
    return this.limit > 0 && this.table.get(words[(address + CALL_COMMAND) >> 2])?.foreign === true;
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
    const [attempt] = this.attempt(memory, words, [address], this.limit);
    return this.conclude(memory, words, attempt);
  }

  /**
   * Runs several guarded commands, one after the other, under one guard: making a guard takes longer than most commands. A
   * command reads what those before it would write; only then, in their order, is each decided and put into the tree. So it
   * comes to what running them one by one comes to.
   * @param take gets each one's outcome once its writes are in the tree: those of the first so many, one at least. (None behind one
   *   that takes long, that has to be run again, or that another replica has given up.)
   * @throws what makes the replica unable to go on
   */
  runTogether(
    memory: Uint8Array,
    words: Int32Array,
    records: readonly number[],
    take: (address: number, outcome: Outcome) => void,
  ): void {
    for (const attempt of this.attempt(memory, words, records, this.limit)) {
      const outcome = this.conclude(memory, words, attempt);
      take(attempt.address, outcome);
      // Those behind it have read what it would have written.
      if (attempt.succeeded && outcome.status !== STATUS_TRUE) return;
    }
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

  /**
   * Runs commands to their ends, one after the other, each as if those before it had taken effect. None has when it returns.
   * @param limit milliseconds after which the last one is stopped where it is; 0: never.
   * @returns those that were begun, one at least
   */
  private attempt(memory: Uint8Array, words: Int32Array, records: readonly number[], limit: number): Attempt[] {
    const earlier = new Map<unknown, Write>();
    const attempts = records.map((address) => {
      const command = this.table.get(words[(address + CALL_COMMAND) >> 2]) as RunnableCommand;
      const call = readCall(memory, words, address, this.order);
      const { attachment, values, room } = this;
      const context = new CallContext(attachment, values, call, command.readOnly, room, earlier);
      return new Attempt(address, command, call.bytes, context);
    });
    let begun = 0;
    const start = performance.now();
    const all = () => {
      for (const attempt of attempts) {
        begun++;
        const { context } = attempt;
        running = context;
        attempt.run(this.streams.shape.replyBytes);
        running = undefined;
        if (begun === attempts.length || context.broken !== undefined || performance.now() - start > TOGETHER_MS)
          return;
        if (attempt.succeeded) for (const [id, write] of context.writes) earlier.set(id, write);
      }
    };
    try {
      // With others before it, a command still has its own time.
      const guard = limit + (records.length > 1 ? TOGETHER_MS : 0);
      if (!attempts[0].command.foreign || limit === 0) all();
      // It may have been stopped in the middle of a scan that had taken latches.
      else if (!guarded(guard, all)) releaseScan(this.attachment.memory, this.attachment.thread);
    } finally {
      running = undefined;
      for (const { context } of attempts) context.end();
    }
    return attempts.slice(0, Math.max(1, begun));
  }

  /**
   * Lets a command take effect, or not, as the replicas agree. One that took too long here and not elsewhere is run again.
   * @throws what makes the replica unable to go on
   */
  private conclude(memory: Uint8Array, words: Int32Array, first: Attempt): Outcome {
    const { command, address } = first;
    for (let tries = 0, limit = this.limit; tries <= TRIES; tries++, limit *= MORE) {
      const { context, ended } = tries === 0 ? first : this.attempt(memory, words, [address], limit)[0];
      if (context.broken !== undefined) throw context.broken;
      const done = ended !== undefined;
      const agreed = command.foreign && !command.readOnly ? this.decide(memory, words, address, done) : done;
      if (!agreed) return failed({ code: 'ERR_COMMAND_TIMEOUT', message: this.timeout(command), value: command.name });
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

  /** Whether the command takes effect: what one replica has said first holds for all, and for who reads the log later. */
  private decide(memory: Uint8Array, words: Int32Array, address: number, done: boolean): boolean {
    const { streams, verdicts } = this;
    const { calls, logged } = streams.shape;
    if (!calls) return done;
    const group = memory[address + OPERATION_FLAGS] & OPERATION_WATCHED_GROUP;
    const position = words[(address + OPERATION_RUN) >> 2];
    if (this.replayed) {
      // Nobody has gone on behind it, or the log would say what it came to. Now it will.
      if (!done) verdicts.note(group, position);
      return done;
    }
    if (verdicts.decide(group, position, done ? VERDICT_DONE : VERDICT_GIVEN_UP) === VERDICT_DONE) return true;
    if (logged) verdicts.untilLogged(group, position, this.signals);
    return false;
  }
}

function failed(failure: CommandFailure): Outcome {
  return { status: STATUS_COMMAND_FAILED, payload: encodeFailure(failure), changed: NOTHING };
}
