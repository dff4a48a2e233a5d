/** A client of the model `direct`: it carries its commands out on the latched tree, in its own thread. */
import { SabtreeError } from '../engine/errors.ts';
import { type Range, RangeWalk } from '../engine/range.ts';
import type { SharedTree } from '../engine/shared-tree.ts';
import {
  OP_ADD,
  OP_CEILING,
  OP_COMPARE_AND_SET,
  OP_COUNT,
  OP_DELETE,
  OP_FIRST,
  OP_FLOOR,
  OP_GET,
  OP_GET_ALL,
  OP_HAS,
  OP_HIGHER,
  OP_INSERT,
  OP_LAST,
  OP_LOWER,
  OP_PUT,
  OP_PUT_ALL,
  OP_RANGE,
  OP_UPDATE,
} from '../layout/operation.ts';
import { STATE_OPEN } from '../layout/streams.ts';
import { type Call, type CommandClient, claimClient, leaveClient } from './client.ts';
import { reapWhileWaiting, writerOf } from './dead-clients.ts';
import { stateError } from './failure.ts';
import { Sampler } from './latency.ts';
import { RangePiece } from './range-piece.ts';
import type { Streams } from './streams.ts';

/** Executes at once; asynchronous calls are answered in a microtask. */
export class DirectClient implements CommandClient {
  readonly id: number;
  readonly rangeLimit: number;
  readonly manyLimit: number;
  /** Nothing is ever waited for. */
  whileWaiting: (() => void) | undefined;
  private readonly streams: Streams;
  private readonly tree: SharedTree<unknown, unknown>;
  private readonly sampler: Sampler;
  private given = 0;
  private closed = false;

  /** @param attach attaches this thread to the tree, under the name of an owner. @throws ERR_TOO_MANY_THREADS, ERR_CLOSED */
  constructor(
    streams: Streams,
    attach: (owner: number) => SharedTree<unknown, unknown>,
    rangeLimit: number,
    manyLimit: number,
  ) {
    this.streams = streams;
    this.rangeLimit = rangeLimit;
    this.manyLimit = manyLimit;
    this.id = claimClient(streams);
    try {
      this.tree = attach(writerOf(this.id));
    } catch (error) {
      leaveClient(streams, this.id);
      throw error;
    }
    reapWhileWaiting(this.tree.attachment, streams);
    this.sampler = new Sampler(streams, this.id);
  }

  private refuseClosed(): void {
    if (this.closed) throw new SabtreeError('ERR_CLOSED', 'the client was closed');
    if (this.streams.state !== STATE_OPEN) throw stateError(this.streams);
  }

  prepare<C extends Omit<Call, 'sink'>>(call: C): C {
    return call;
  }

  /** Executes a command, and answers before it returns. @throws ERR_KEY, ERR_VALUE, ERR_CLOSED and what the tree throws */
  submit(call: Call): void {
    this.refuseClosed();
    const number = this.given++ | 0;
    this.sampler.begin(number);
    let result: unknown;
    try {
      result = this.execute(call);
    } catch (error) {
      this.sampler.drop();
      const { code } = error as SabtreeError;
      // What is wrong with the command itself is an answer; what is wrong with the arguments is thrown.
      if (code !== 'ERR_UNSUPPORTED') throw error;
      call.sink.refuse(call.index, error as SabtreeError);
      return;
    }
    this.sampler.end(number);
    call.sink.settle(call.index, result);
  }

  drive(calls: () => Call | undefined): void {
    this.refuseClosed();
    for (let call = calls(); call !== undefined; call = calls()) this.submit(call);
  }

  private execute({ op, key, value, expected, range }: Call): unknown {
    const { tree } = this;
    switch (op) {
      case OP_GET:
        return tree.get(key);
      case OP_HAS:
        return tree.has(key);
      case OP_PUT:
        return tree.put(key, value);
      case OP_INSERT:
        return tree.insert(key, value);
      case OP_UPDATE:
        return tree.update(key, value);
      case OP_DELETE:
        return tree.delete(key);
      case OP_COMPARE_AND_SET:
        return tree.compareAndSet(key, expected, value);
      case OP_ADD:
        return tree.add(key, value);
      case OP_FLOOR:
        return tree.floor(key);
      case OP_CEILING:
        return tree.ceiling(key);
      case OP_LOWER:
        return tree.lower(key);
      case OP_HIGHER:
        return tree.higher(key);
      case OP_FIRST:
        return tree.first();
      case OP_LAST:
        return tree.last();
      case OP_COUNT:
        return range === undefined ? tree.size : this.countRange(range);
      case OP_RANGE:
        return this.scan(range as Range);
      case OP_GET_ALL:
        return tree.getMany(key as unknown[]);
      case OP_PUT_ALL:
        return tree.putMany(key as unknown[], value as unknown[]);
      default:
        throw new SabtreeError('ERR_UNKNOWN_COMMAND', `the model direct does not know command ${op}`, op);
    }
  }

  private countRange(range: Range): number {
    const walk = new RangeWalk(this.tree.attachment, range);
    let count = 0;
    while (walk.advance()) count += walk.count;
    return count;
  }

  /** One atomic scan. */
  private scan(range: Range): RangePiece {
    const { attachment } = this.tree;
    const walk = new RangeWalk(attachment, { ...range, limit: Math.min(range.limit, this.rangeLimit) });
    const entries: [unknown, unknown][] = [];
    if (range.limit > 0 && walk.advance()) {
      for (let i = 0; i < walk.count; i++) entries.push([walk.keys.get(i), walk.values.get(i)]);
    }
    const piece = new RangePiece(entries, entries.length > 0 && attachment.more);
    walk.stop();
    return piece;
  }

  whenIdle(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    leaveClient(this.streams, this.id);
    this.tree.close();
  }
}
