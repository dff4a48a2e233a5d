/** Flags of a command line, read the same way by every command: what is wrong with one is said in one line. */
import { type ParseArgsConfig, parseArgs } from 'node:util';

/** A wrong call. */
export class FlagError extends Error {}

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<T extends Options> = ReturnType<typeof parseArgs<{ args: string[]; options: T; allowPositionals: true }>>;

/** The flags by name, as a message has them. */
function namesOf(options: Options): string {
  return Object.keys(options)
    .map((name) => `--${name}`)
    .join(', ');
}

/** The values of flags, and what stands between them. @throws FlagError */
export function parseLine<T extends Options>(args: string[], options: T): Parsed<T> {
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
      throw new FlagError(`unknown flag ${/'(.*?)'/.exec(message)?.[1]}; there are ${namesOf(options)}`);
    }
    if (code?.startsWith('ERR_PARSE_ARGS')) throw new FlagError(message.split('\n')[0]);
    throw error;
  }
}

/** The values of flags, where nothing may stand between them. @throws FlagError */
export function parseFlags<T extends Options>(args: string[], options: T): Parsed<T>['values'] {
  const { values, positionals } = parseLine(args, options);
  if (positionals.length === 0) return values;
  throw new FlagError(`unexpected argument ${JSON.stringify(positionals[0])}; there are ${namesOf(options)}`);
}

/** The number that a text says, if it is in bounds. If `least` is an integer, so must the number be. */
function numberIn(text: string, least: number, most: number): number | undefined {
  const value = Number(text);
  const fits = text.trim() !== '' && value >= least && value <= most;
  return fits && (!Number.isInteger(least) || Number.isInteger(value)) ? value : undefined;
}

/** One value of a flag that takes numbers. @throws FlagError */
export function numberOf(name: string, text: string, least: number, most: number): number {
  const value = numberIn(text, least, most);
  if (value !== undefined) return value;
  const kind = Number.isInteger(least) ? 'integers' : 'numbers';
  throw new FlagError(`--${name} takes ${kind} from ${least} to ${most}, got ${JSON.stringify(text)}`);
}

/** The value of a flag that takes a number; `fallback` without it. @throws FlagError */
export function numberFlag<F extends number | undefined>(
  name: string,
  text: string | undefined,
  fallback: F,
  least: number,
  most: number,
): number | F {
  if (text === undefined) return fallback;
  const value = numberIn(text, least, most);
  if (value !== undefined) return value;
  const kind = Number.isInteger(least) ? 'an integer' : 'a number';
  throw new FlagError(`--${name} takes ${kind} from ${least} to ${most}, got ${JSON.stringify(text)}`);
}

/** The values of a list, each once; undefined if the flag is not given. */
export function listOf<T>(text: string | undefined, item: (text: string) => T): T[] | undefined {
  return text === undefined ? undefined : [...new Set(text.split(',').map((one) => item(one.trim())))];
}

/** The value of a flag that takes one of some names. @throws FlagError */
export function nameOf<T extends string>(flag: string, names: readonly T[], text: string): T {
  if (!names.includes(text as T)) {
    throw new FlagError(`--${flag} takes ${names.join(', ')}; got ${JSON.stringify(text)}`);
  }
  return text as T;
}
