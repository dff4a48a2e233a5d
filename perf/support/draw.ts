/** Commands drawn beforehand, from the workloads of the experiment over the models. */
import { OP_COMPARE_AND_SET, OP_DELETE, OP_GET, OP_INSERT, OP_UPDATE } from '../../layout/operation.ts';
import { type Book, CommandSource, emptyBook } from '../models/command-source.ts';
import type { DistributionName } from '../models/types.ts';
import { type Mix, slotsFor } from '../models/workloads.ts';

/** Commands in the order in which one client gives them, all on single keys. */
export interface CommandList {
  readonly ops: Uint8Array;
  readonly keys: Uint32Array;
  /** New values; for compare-and-set also the expected ones. */
  readonly values: Float64Array;
  readonly expected: Float64Array;
  /** Entries that must be there at the beginning, and what must be there at the end. */
  readonly before: readonly (readonly [number, number])[];
  readonly after: Book;
}

const OPS: Readonly<Record<string, number>> = {
  get: OP_GET,
  update: OP_UPDATE,
  insert: OP_INSERT,
  delete: OP_DELETE,
  compareAndSet: OP_COMPARE_AND_SET,
};

/** Draws commands of a workload. The same arguments give the same commands. @throws if it has commands on many keys. */
export function drawCommands(
  mix: Mix,
  distribution: DistributionName,
  entries: number,
  commands: number,
  seed: number,
): CommandList {
  const book = emptyBook(slotsFor(mix, entries));
  const source = new CommandSource(mix, distribution, { client: 0, clients: 1, entries, seed }, book);
  const { keys: first, values: firstValues } = source.preload();
  const before = Array.from(first, (key, i) => [key, firstValues[i]] as const).sort(([a], [b]) => a - b);
  const ops = new Uint8Array(commands);
  const keys = new Uint32Array(commands);
  const values = new Float64Array(commands);
  const expected = new Float64Array(commands);
  for (let at = 0; at < commands; ) {
    source.next(Math.min(1024, commands - at));
    for (const [name, key, one, other] of source.commands as unknown as [string, number, number, number][]) {
      if (OPS[name] === undefined) throw new Error(`${name} is no command on a single key`);
      ops[at] = OPS[name];
      keys[at] = key;
      values[at] = name === 'compareAndSet' ? other : one;
      expected[at] = one;
      at++;
    }
  }
  return { ops, keys, values, expected, before, after: book };
}
