/**
 * Histories: what clients of a store called, what they were answered, and when. As text a history is JSON lines, one
 * operation each, so that any other checker can read it:
 *
 *     {"client":0,"op":"compareAndSet","key":7,"value":[1,2],"result":true,"call":12,"return":15}
 *
 * `call` and `return` are times of one clock that all clients share; a `return` of null means that the outcome is
 * unknown: the operation takes effect at some time after its call, or never. null elsewhere, and a member left out, stand
 * for undefined: an absent entry, an argument not given. Numbers that JSON has not are objects of one member:
 * {"$bigint":"-5"}, {"$number":"-0"} (NaN, Infinity, -Infinity).
 */
import type { CommandName, RangeOptions } from '../../dist/index.js';

export type Key = number | bigint;

/** One operation as its client saw it. */
export interface Operation {
  readonly client: number | string;
  readonly op: CommandName;
  /** The key; the keys of getAll and putAll; the options of range. */
  readonly key?: Key | readonly Key[] | RangeOptions<Key> | undefined;
  /** What is written, or added; [expected, value] of compareAndSet; the values of putAll. */
  readonly value?: unknown;
  readonly result?: unknown;
  readonly call: number;
  readonly return: number | null;
}

/** One line of JSON, with what JSON lacks as objects of one member. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_, part) => {
    if (part === undefined) return null;
    if (typeof part === 'bigint') return { $bigint: `${part}` };
    if (typeof part !== 'number' || (Number.isFinite(part) && !Object.is(part, -0))) return part;
    return { $number: Object.is(part, -0) ? '-0' : `${part}` };
  });
}

function fromJson(part: unknown): unknown {
  if (typeof part !== 'object' || part === null) return part ?? undefined;
  if (Array.isArray(part)) return part.map(fromJson);
  const { $bigint, $number } = part as { $bigint?: string; $number?: string };
  if ($bigint !== undefined) return BigInt($bigint);
  if ($number !== undefined) return Number($number);
  return Object.fromEntries(Object.entries(part).map(([name, inner]) => [name, fromJson(inner)]));
}

/** The history as lines. */
export function writeHistory(history: readonly Operation[]): string {
  return history
    .map(({ client, op, key, value, result, call, return: end }) =>
      toJson({ client, op, key, value, result, call, return: end }),
    )
    .map((line) => `${line}\n`)
    .join('');
}

/** The history in such lines; empty ones are skipped. */
export function readHistory(lines: string): Operation[] {
  return lines
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const operation = fromJson(JSON.parse(line)) as Operation;
      return { ...operation, return: operation.return ?? null };
    });
}

/** An operation in one line for people: when, who, what, and the answer. */
export function describeOperation({ client, op, key, value, result, call, return: end }: Operation): string {
  const plain = (part: unknown) => toJson(part).replace(/\{"\$(?:bigint|number)":"([^"]*)"\}/g, '$1');
  const args = [key, value].filter((arg) => arg !== undefined).map(plain);
  const answer = end === null ? 'no answer' : result === undefined ? 'nothing' : plain(result);
  return `[${call}, ${end ?? '...'}] client ${client}: ${op}(${args.join(', ')}) -> ${answer}`;
}
