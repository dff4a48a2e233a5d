import { SabtreeError, show } from '../engine/errors.ts';
import type { KeyOf, KeyType } from '../engine/keys.ts';
import type { RangeOptions } from '../engine/range.ts';
import { keyCode } from '../engine/shape.ts';
import { ValueCodec, type ValueOf, type ValueType } from '../engine/values.ts';
import { commandHash, MOST_RESULT, type Payload, payloadOf } from './call-record.ts';

/** The type 'json' with a TypeScript type beside it: `json<{ from: number; to: number }>()`. */
export type Json<T> = 'json' & {
  /** For the compiler only: there is no such property. */
  readonly __type?: T;
};

/** The type 'json', and for the compiler what it holds: `args: json<{ from: number; to: number }>()`. Nothing checks that at run time. */
export function json<T>(): Json<T> {
  return 'json' as Json<T>;
}

/** What `args` and `result` of a command take: a value type, 'boolean', or 'void' for none. */
export type PayloadType = ValueType | 'boolean' | 'void';

/** The JavaScript type of arguments or a result. */
export type PayloadOf<P extends PayloadType> = P extends 'void'
  ? // What a function without a return gives, too.
    // biome-ignore lint/suspicious/noConfusingVoidType: see above
    void
  : P extends 'boolean'
    ? boolean
    : P extends Json<infer T>
      ? T
      : P extends ValueType
        ? ValueOf<P>
        : never;

/**
 * What a command sees of the store while it runs: the state at its place of the order, and its own writes. All methods throw
 * ERR_KEY and ERR_VALUE for wrong arguments, and ERR_UNDECLARED_KEY for keys that the command has not declared; the latter
 * fails the command even if it is caught.
 */
export interface CommandContext<K, V> {
  /**
   * Milliseconds since 1970 when the command was given: the same in every replica. (`Date.now()` and `new Date()` answer it as
   * well.)
   */
  readonly time: number;
  /** The next random number from 0 up to 1: the same in every replica. (`Math.random()` answers it as well.) */
  random(): number;
  /** The value of `key`, or undefined. */
  get(key: K): V | undefined;
  /** Whether `key` is there. */
  has(key: K): boolean;
  /** Writes an entry. Answers true if the key is new. */
  put(key: K, value: V): boolean;
  /** Removes an entry. Answers whether it was there. */
  delete(key: K): boolean;
  /** The entries of a range, in order. Only with `keys: 'all'`. */
  range(options?: RangeOptions<K>): [K, V][];
}

/** What `defineCommand` takes. */
export interface CommandDefinition<
  K extends KeyType,
  V extends ValueType,
  A extends PayloadType,
  R extends PayloadType,
> {
  /** Its name, unique in a store: 1 to 200 characters. A log that is read again finds its commands by it. */
  readonly name: string;
  /** Type of the keys of the stores it is for. */
  readonly key: K;
  /** Type of their values. */
  readonly value: V;
  /** Type of the arguments: a value type (records of typed-binary, 'json', 'string', ...), 'boolean', or 'void'. */
  readonly args: A;
  /** Type of the result. */
  readonly result: R;
  /** True if it writes nothing; then replicas that do not answer need not run it. */
  readonly readOnly?: boolean;
  /** Most bytes of a result that varies in length, 1 to 32768. Default 1024. The caller keeps room for so much. */
  readonly maxResult?: number;
  /**
   * The keys that the command may touch, found by the caller. 'all' instead lets it touch every key and read ranges, at the
   * cost that all executors stand while it runs. Commands whose keys are all of one group run beside those of other groups.
   */
  keys: 'all' | ((args: PayloadOf<A>) => ArrayLike<KeyOf<K>> | 'all');
  /**
   * What it does. Every replica runs it, so it must come to the same everywhere: it may depend on `args` and on what `ctx`
   * answers, and on nothing else that changes (no clocks, no files, no variables that outlive it). It is synchronous. Its
   * writes take effect together when it returns; if it throws, nothing was written, and the caller gets what it threw.
   */
  run(ctx: CommandContext<KeyOf<K>, ValueOf<V>>, args: PayloadOf<A>): PayloadOf<R>;
}

/** What a call of a command takes beside it: its arguments, or nothing if it has none ('void'). */
export type CallArguments<A> = undefined extends A ? [args?: A] : [args: A];

/** Most bytes of a result that varies in length, unless the command says otherwise. */
const RESULT = 1024;

/** A command as `defineCommand` makes it: `StoreClient.call` takes it. */
export class DefinedCommand<K = unknown, V = unknown, A = unknown, R = unknown> {
  /** Says what it is, also to another copy of this package. @internal */
  readonly isSabtreeCommand = true;
  /** Its name. */
  readonly name: string;
  /** Stands for the name in records. @internal */
  readonly hash: number;
  /** Says what its bytes mean: the caller's must be that of the executors. @internal */
  readonly signature: string;
  /** @internal */
  readonly keyCode: number;
  /** @internal */
  readonly valueType: ValueType;
  /** @internal */
  readonly valueSignature: string;
  /** @internal */
  readonly args: Payload;
  /** @internal */
  readonly result: Payload;
  /** Whether it writes nothing. */
  readonly readOnly: boolean;
  /** Most bytes of its result. */
  readonly maxResult: number;
  /** @internal */
  readonly keys: (args: A) => ArrayLike<K> | 'all';
  /** @internal */
  readonly run: (ctx: CommandContext<K, V>, args: A) => R;

  /** @internal */
  constructor(definition: CommandDefinition<KeyType, ValueType, PayloadType, PayloadType>) {
    const { name, key, value, args, result, readOnly = false, keys, run } = definition;
    if (typeof name !== 'string' || name.length === 0 || name.length > 200) {
      throw new SabtreeError('ERR_OPTION', `a command's name has 1 to 200 characters, got ${show(name)}`, name);
    }
    if (typeof run !== 'function') {
      throw new SabtreeError('ERR_OPTION', `command ${name}: run must be a function, got ${show(run)}`, run);
    }
    if (keys !== 'all' && typeof keys !== 'function') {
      throw new SabtreeError(
        'ERR_OPTION',
        `command ${name}: keys must be a function or 'all', got ${show(keys)}`,
        keys,
      );
    }
    if (typeof readOnly !== 'boolean') {
      throw new SabtreeError(
        'ERR_OPTION',
        `command ${name}: readOnly must be a boolean, got ${show(readOnly)}`,
        readOnly,
      );
    }
    this.name = name;
    this.hash = commandHash(name);
    this.keyCode = keyCode(key);
    this.valueType = value;
    this.valueSignature = new ValueCodec(value).signature;
    this.args = payloadOf(args);
    this.result = payloadOf(result);
    this.readOnly = readOnly;
    const most = definition.maxResult ?? RESULT;
    if (typeof most !== 'number' || !Number.isInteger(most) || most < 1 || most > MOST_RESULT) {
      throw new SabtreeError(
        'ERR_OPTION',
        `command ${name}: maxResult must be an integer from 1 to ${MOST_RESULT}, got ${show(most)}`,
        most,
      );
    }
    this.maxResult = this.result.size ?? most;
    this.keys = keys === 'all' ? () => 'all' : (given: A) => keys.call(definition, given as never) as ArrayLike<K>;
    this.run = (ctx, given) => run.call(definition, ctx as never, given as never) as R;
    this.signature = [
      ...[key, this.valueSignature, this.args.signature, this.result.signature],
      ...[this.maxResult, readOnly],
    ].join(' ');
  }
}

/**
 * Defines a command that stores carry out as one step: on several keys, all or nothing, at one place of the order, in
 * every replica. Export it from a module, and name the module's URL in `open`'s option `commands`: every executor imports it.
 * `StoreClient.call` gives it.
 * @throws ERR_OPTION
 */
export function defineCommand<
  K extends KeyType,
  const V extends ValueType,
  const A extends PayloadType,
  const R extends PayloadType,
>(definition: CommandDefinition<K, V, A, R>): DefinedCommand<KeyOf<K>, ValueOf<V>, PayloadOf<A>, PayloadOf<R>> {
  if (typeof definition !== 'object' || definition === null) {
    throw new SabtreeError('ERR_OPTION', `defineCommand takes an object, got ${show(definition)}`, definition);
  }
  return new DefinedCommand(
    definition as unknown as CommandDefinition<KeyType, ValueType, PayloadType, PayloadType>,
  ) as unknown as DefinedCommand<KeyOf<K>, ValueOf<V>, PayloadOf<A>, PayloadOf<R>>;
}
