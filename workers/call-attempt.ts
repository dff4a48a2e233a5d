/** One run of a command that has not taken effect yet, and may never. */
import { SabtreeError } from '../engine/errors.ts';
import type { CallContext } from './call-context.ts';
import { type CommandFailure, MOST_RESULT, mostAnswer, wrongValue } from './call-record.ts';
import type { RunnableCommand } from './command-table.ts';

/** How a run of a command ended. */
export type Ended = { readonly payload: Uint8Array } | { readonly failure: CommandFailure };

/** A run of a command. */
export class Attempt {
  /** Where its record stands. */
  readonly address: number;
  readonly command: RunnableCommand;
  readonly context: CallContext;
  /** How it ended; undefined if it was stopped, or has not been run. */
  ended: Ended | undefined;
  private readonly bytes: Uint8Array;

  /** @param bytes the command's arguments. */
  constructor(address: number, command: RunnableCommand, bytes: Uint8Array, context: CallContext) {
    this.address = address;
    this.command = command;
    this.bytes = bytes;
    this.context = context;
  }

  /** Whether what it wrote is to take effect. */
  get succeeded(): boolean {
    return this.ended !== undefined && 'payload' in this.ended;
  }

  /** Runs it to its end. It may be stopped anywhere. @param replyBytes bytes of a reply ring. */
  run(replyBytes: number): void {
    const { command, context } = this;
    const ended = this.execute(replyBytes);
    const { fault } = context;
    if (fault === undefined) this.ended = ended;
    else {
      const { code, message, value } = fault;
      this.ended = { failure: { code, message: `${command.name}: ${message}`, ...wrongValue(value) } };
    }
  }

  private execute(replyBytes: number): Ended {
    const { command, context, bytes } = this;
    const { name, args, result, maxResult, foreign, readOnly } = command;
    try {
      const given = command.execute(context, args.decode(bytes));
      if (isThenable(given)) throw new SabtreeError('ERR_VALUE', 'it returned a promise, but run is synchronous');
      const payload = result.encode(given).slice();
      const most = foreign ? maxResult : readOnly ? mostAnswer(replyBytes) : MOST_RESULT;
      if (payload.length <= most) return { payload };
      const what = foreign ? `maxResult is ${most}` : `at most ${most} fit into an answer`;
      const message = `${name}: its result takes ${payload.length} bytes, ${what}`;
      return { failure: { code: foreign ? 'ERR_COMMAND_FAILED' : 'ERR_TOO_LARGE', message, value: payload.length } };
    } catch (error) {
      // Looked at here, under guard: what was thrown may be anything.
      return { failure: failureOf(command, error) };
    }
  }
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
