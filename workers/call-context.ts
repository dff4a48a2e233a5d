/**
 * What a command sees while it runs: the replica's tree, and over it its own writes, which nobody else sees. They go into
 * the tree together, when it has ended well.
 */
import type { Attachment } from '../engine/attachment.ts';
import { SabtreeError, show } from '../engine/errors.ts';
import { checkKey, compareKeys, keyIdentity, ownKey, storedLength } from '../engine/key-order.ts';
import { RangeIterator, type RangeOptions, RangeWalk, rangeOf } from '../engine/range.ts';
import { prefixRange } from '../engine/variable-keys.ts';
import { OP_DELETE, OP_PUT } from '../layout/operation.ts';
import { CHANGE_KEY } from '../layout/watch.ts';
import { type CallRecord, type Payload, randomFrom } from './call-record.ts';
import type { CommandContext } from './define-command.ts';
import { modifyBytes, readBytes } from './tree-bytes.ts';

/** One write: the bytes of a value, or undefined for a deletion. */
export interface Write {
  readonly key: unknown;
  readonly bytes: Uint8Array | undefined;
}

/** Bytes that a key or a value of so many bytes takes in a change (layout/watch.ts). */
const padded = (length = 0) => (length + 7) & ~7;

/** Whether calls were nested too deeply: that is the command's fault, wherever it is noticed. */
function isStackOverflow(error: unknown): boolean {
  const { name, message } = error as Error;
  return (name === 'RangeError' && message.includes('call stack')) || name === 'InternalError';
}

/** One run of a command. */
export class CallContext implements CommandContext<unknown, unknown> {
  readonly time: number;
  /** The keys that it named, in its order. */
  readonly keys: readonly unknown[];
  /** What makes the command fail, whatever it does about it. */
  fault: SabtreeError | undefined;
  /** What makes the replica fail. */
  broken: unknown;
  /** Its writes, by the keys' identities, in the order in which the keys were first written. */
  readonly writes = new Map<unknown, Write>();
  /** The replica's tree, for commands that read it without being seen. */
  readonly attachment: Attachment;
  private readonly values: Payload;
  private readonly declared: ReadonlySet<unknown> | undefined;
  private readonly readOnly: boolean;
  private readonly seed: readonly [low: number, high: number];
  private next: (() => number) | undefined;
  private readonly earlier: ReadonlyMap<unknown, Write>;
  private room: number;
  private over = false;

  /**
   * @param values how the tree's values become bytes. @param room most bytes that its changes may take.
   * @param earlier writes of commands before it that are not in the tree yet.
   */
  constructor(
    attachment: Attachment,
    values: Payload,
    call: CallRecord,
    readOnly: boolean,
    room: number,
    earlier: ReadonlyMap<unknown, Write>,
  ) {
    this.attachment = attachment;
    this.values = values;
    this.keys = call.keys ?? [];
    const { keyCode } = attachment;
    this.declared = call.keys && new Set(call.keys.map((key) => keyIdentity(keyCode, key)));
    this.readOnly = readOnly;
    this.time = call.time;
    this.seed = call.seed;
    this.room = room;
    this.earlier = earlier;
  }

  random(): number {
    this.next ??= randomFrom(...this.seed);
    return this.next();
  }

  get(key: unknown): unknown {
    const bytes = this.bytesOf(key);
    return bytes === undefined ? undefined : this.values.decode(bytes);
  }

  has(key: unknown): boolean {
    return this.bytesOf(key) !== undefined;
  }

  put(key: unknown, value: unknown): boolean {
    this.refuseWriting();
    const own = this.own(key);
    const fresh = !this.has(own);
    this.write(own, this.values.encode(value).slice());
    return fresh;
  }

  delete(key: unknown): boolean {
    this.refuseWriting();
    const own = this.own(key);
    const there = this.has(own);
    if (there) this.write(own, undefined);
    return there;
  }

  /** The key as it is now: the command may change the object, and its writes take effect later. */
  private own(key: unknown): unknown {
    return ownKey(this.attachment.keyCode, key);
  }

  range(options?: RangeOptions<unknown>): [unknown, unknown][] {
    if (this.declared !== undefined) {
      throw this.fail('ERR_UNDECLARED_KEY', "range is for commands with keys: 'all'", options);
    }
    this.refuseLate();
    const range = rangeOf(options);
    const { attachment, writes, earlier } = this;
    const { limit } = range;
    // As many more as those writes may hide. Wrong bounds are refused here, and are the command's fault.
    const walk = new RangeWalk(attachment, { ...range, limit: limit + writes.size + earlier.size });
    const entries = this.decoded(this.guard(() => [...new RangeIterator<unknown, unknown>(walk)]));
    if (writes.size + earlier.size === 0) return entries;
    return this.merge(entries, new Map([...earlier, ...writes]), options ?? {}).slice(0, limit);
  }

  // --- bytes, for commands that only move values ------------------------------------------------------------------------

  /** A value's bytes as this command sees them, or undefined. */
  bytesOf(key: unknown): Uint8Array | undefined {
    const id = this.touch(key);
    const written = this.writes.get(id) ?? this.earlier.get(id);
    if (written !== undefined) return written.bytes;
    return this.guard(() => readBytes(this.attachment, key));
  }

  /** Writes a value's bytes; undefined removes the entry, which is there. The key must not change any more. */
  write(key: unknown, bytes: Uint8Array | undefined): void {
    const id = this.touch(key);
    const before = this.writes.get(id);
    const head = before === undefined ? CHANGE_KEY + padded(storedLength(this.attachment.keyCode, key)) : 0;
    this.room -= head + padded(bytes?.length) - padded(before?.bytes?.length);
    if (this.room < 0) throw this.fail('ERR_TOO_LARGE', 'it writes more than fits into one command', key);
    this.writes.set(id, { key, bytes });
  }

  // --- what it may do ---------------------------------------------------------------------------------------------------

  /** Lets nothing through any more: the command has ended. */
  end(): void {
    this.over = true;
  }

  /** Lets only keys through that it may touch. @returns the key's identity */
  private touch(key: unknown): unknown {
    this.refuseLate();
    const { keyCode } = this.attachment;
    checkKey(keyCode, key);
    const id = keyIdentity(keyCode, key);
    if (this.declared !== undefined && !this.declared.has(id)) {
      throw this.fail('ERR_UNDECLARED_KEY', `the key ${show(key)} was not declared`, key);
    }
    return id;
  }

  private refuseLate(): void {
    if (this.over)
      throw new SabtreeError('ERR_COMMAND_FAILED', 'the command has ended: its context is not for later use');
  }

  private refuseWriting(): void {
    if (this.readOnly) throw this.fail('ERR_COMMAND_FAILED', 'a read-only command writes', undefined);
  }

  /** The command has failed, also if it catches this. */
  private fail(
    code: 'ERR_UNDECLARED_KEY' | 'ERR_COMMAND_FAILED' | 'ERR_TOO_LARGE',
    message: string,
    value: unknown,
  ): SabtreeError {
    this.fault ??= new SabtreeError(code, message, value);
    return this.fault;
  }

  /** What the tree throws is not the command's fault. */
  private guard<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!isStackOverflow(error)) this.broken ??= error;
      throw error;
    }
  }

  // --- ranges -----------------------------------------------------------------------------------------------------------

  /** Puts writes into what a range of the tree gave. */
  private merge(
    entries: readonly [unknown, unknown][],
    writes: ReadonlyMap<unknown, Write>,
    options: RangeOptions<unknown>,
  ): [unknown, unknown][] {
    const { keyCode } = this.attachment;
    const { prefix, reverse } = options;
    const { from, end } = prefix === undefined ? { from: undefined, end: undefined } : prefixRange(keyCode, prefix);
    const { gt, gte = from, lt = end, lte } = options;
    const within = (key: unknown) =>
      !(
        (gt !== undefined && compareKeys(keyCode, key, gt) <= 0) ||
        (gte !== undefined && compareKeys(keyCode, key, gte) < 0) ||
        (lt !== undefined && compareKeys(keyCode, key, lt) >= 0) ||
        (lte !== undefined && compareKeys(keyCode, key, lte) > 0)
      );
    const merged = entries.filter(([key]) => !writes.has(keyIdentity(keyCode, key)));
    for (const { key, bytes } of writes.values()) {
      if (bytes !== undefined && within(key)) merged.push([key, this.values.decode(bytes)]);
    }
    const sign = reverse ? -1 : 1;
    return merged.sort(([a], [b]) => sign * compareKeys(keyCode, a, b));
  }

  // --- taking effect ----------------------------------------------------------------------------------------------------

  /**
   * Puts the writes into the tree. Nobody else touches their keys meanwhile.
   * @returns those that changed something. @throws ERR_MEMORY_EXHAUSTED, which only a new replica can mend
   */
  commit(): Write[] {
    const { attachment } = this;
    return [...this.writes.values()].filter(
      ({ key, bytes }) =>
        modifyBytes(attachment, bytes === undefined ? OP_DELETE : OP_PUT, key, bytes) || bytes !== undefined,
    );
  }

  /** Entries of the tree with their values as the command knows them. */
  private decoded(entries: [unknown, unknown][]): [unknown, unknown][] {
    if (this.attachment.values.variable === undefined) return entries;
    return entries.map(([key, bytes]) => [key, this.values.decode(bytes as Uint8Array)]);
  }
}
