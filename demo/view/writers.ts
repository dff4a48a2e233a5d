/** Who the threads are that a tree's version words name. */

import { EXECUTOR_TREE_THREAD } from '../../layout/streams.ts';
import { MAX_THREADS } from '../../layout/tree-memory.ts';
import type { StoreHandle } from '../../workers/store-client.ts';
import { Streams } from '../../workers/streams.ts';
import { colourNumber, WRITER_COLOURS } from './palette.ts';

/** The threads of one tree. */
export class Writers {
  /** Colour number of each thread. */
  readonly colourOf = new Uint8Array(MAX_THREADS);
  private readonly names: string[] = [];
  private readonly streams: Streams | undefined;
  private readonly model: string;
  private readonly replica: number;

  /** @param handle the store whose replica it is; without one the threads have numbers only */
  constructor(memory: WebAssembly.Memory, handle?: StoreHandle) {
    this.model = handle?.model ?? '';
    this.replica = handle?.memories.indexOf(memory) ?? -1;
    this.streams = handle && this.replica >= 0 ? Streams.attach(handle.streams) : undefined;
    for (let thread = 1; thread < MAX_THREADS; thread++) this.colourOf[thread] = colourNumber(thread - 1);
    this.renew();
  }

  /** Looks again: a replica that is rebuilt has new threads. @returns true if a colour has changed */
  renew(): boolean {
    const { streams, replica, colourOf, names } = this;
    if (streams === undefined) return false;
    const { shape, words } = streams;
    let changed = false;
    const is = (thread: number, name: string, number: number) => {
      if (thread === 0) return;
      const colour = colourNumber(number);
      if (colourOf[thread] !== colour) changed = true;
      colourOf[thread] = colour;
      names[thread] = name;
    };
    // Without executors the clients write, and nothing tells which of a tree's threads is whose: they keep their numbers.
    for (let executor = 0; executor < shape.executors; executor++) {
      const at = streams.executor(replica, executor) + EXECUTOR_TREE_THREAD;
      is(Atomics.load(words, at >> 2), threadName(this.model, executor), executor);
    }
    return changed;
  }

  /** What a thread is called. */
  nameOf(thread: number): string {
    return thread === 0 ? 'nobody' : (this.names[thread] ?? `thread ${thread}`);
  }

  /** What a colour stands for. */
  legend(colour: number): string {
    if (colour === 0) return 'unchanged since it was made';
    for (let thread = 1; thread < MAX_THREADS; thread++) {
      if (this.colourOf[thread] === colour && this.names[thread] !== undefined) return this.names[thread];
    }
    for (let thread = colour; thread < MAX_THREADS; thread += WRITER_COLOURS) {
      if (this.colourOf[thread] === colour) return `thread ${thread}`;
    }
    return 'another thread';
  }
}

/** What a replica's thread does in a model. */
export function threadName(model: string, thread: number): string {
  if (model === 'pipelined') return ['receiver', 'executor', 'replier'][thread] ?? `thread ${thread}`;
  if (model === 'sdpe' || model === 'sdpe-pairwise') return thread === 0 ? 'scheduler' : `executor ${thread - 1}`;
  return `executor ${thread}`;
}
