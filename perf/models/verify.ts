/** Whether answers and contents are what the clients' books say. */
import type { Store } from '../../index.ts';
import type { Book, Expectation } from './command-source.ts';

/** What is wrong with an answer, in words; undefined if nothing is. */
export function wrongAnswer(answer: unknown, expected: Expectation): string | undefined {
  if (typeof expected !== 'object') return answer === expected ? undefined : `answered ${answer}, expected ${expected}`;
  const { from, limit, hit } = expected;
  if (!Array.isArray(answer)) return `answered ${answer}, expected entries`;
  if (answer.length > limit) return `answered ${answer.length} entries, ${limit} were asked for`;
  let least = from;
  for (const [key] of answer) {
    if (!(key >= least)) return `answered key ${key}, expected at least ${least}`;
    least = key + 1;
  }
  return hit && answer[0]?.[0] !== from ? `began with key ${answer[0]?.[0]}, expected ${from}` : undefined;
}

const show = (value: number) => (Number.isNaN(value) ? 'no entry' : String(value));

/** The first slot in which the store's home replica differs from the book, in words; undefined if there is none. */
export function firstDifference(store: Store, book: Book): string | undefined {
  let difference: string | undefined;
  const differs = (key: number, found: number) => {
    difference ??= `key ${key} holds ${show(found)}, the clients' books say ${show(book[key] ?? Number.NaN)}`;
  };
  let slot = 0;
  const skipTo = (key: number) => {
    for (; slot < key; slot++) if (!Number.isNaN(book[slot])) differs(slot, Number.NaN);
  };
  store.tree.forRange({}, (key, value) => {
    if (difference !== undefined) return;
    skipTo(Math.min(key, book.length));
    if (book[key] !== value) differs(key, value);
    slot = key + 1;
  });
  skipTo(book.length);
  return difference;
}

/** Compares the home replica with the book, and all replicas with each other. Nobody may write meanwhile. */
export async function verify(store: Store, book: Book): Promise<string[]> {
  const problems: string[] = [];
  // All replicas have executed everything when their digests are here.
  const digests = await store.digests();
  const { replicas, home } = store.stats();
  const reference = digests.find(({ replica }) => replica === home);
  for (let replica = 0; replica < replicas; replica++) {
    const its = digests.find((one) => one.replica === replica);
    if (its === undefined || reference === undefined) problems.push(`replica ${replica} is lost`);
    else if (its.digest !== reference.digest || its.entries !== reference.entries) {
      problems.push(
        `replica ${replica} has digest ${its.digest} over ${its.entries} entries, ` +
          `replica ${home} has ${reference.digest} over ${reference.entries}`,
      );
    }
  }
  const difference = firstDifference(store, book);
  if (difference !== undefined) problems.push(difference);
  return problems;
}
