/** Making trees of types chosen at run time, and filling them from a model. */
import { type FixedKeyType, type FixedValueType, SharedTree, type TreeOptions } from '../../dist/index.js';
import { same } from './oracle.ts';
import type { AnyKey } from './values.ts';

export type AnyTree = SharedTree<AnyKey, unknown>;
export type Entry = [AnyKey, unknown];

/** A tree of types that are known at run time only. Small memory unless said otherwise: many are made. */
export function makeTree(key: FixedKeyType, value: FixedValueType, options: Partial<TreeOptions> = {}): AnyTree {
  return SharedTree.create({ key, value, memory: '64MB', ...options }) as unknown as AnyTree;
}

/** A value as it reads in a failure. */
export function render(value: unknown): string {
  const text = JSON.stringify(value, (_, part) => {
    if (typeof part === 'bigint') return `${part}n`;
    return typeof part === 'number' && (!Number.isFinite(part) || Object.is(part, -0))
      ? String(Object.is(part, -0) ? '-0' : part)
      : part;
  });
  return text === undefined || text.length <= 400 ? String(text) : `${text.slice(0, 400)}…`;
}

/** Fails unless the two are equal bit for bit; says what was asked. */
export function agree(what: string, actual: unknown, expected: unknown): void {
  if (!same(actual, expected)) throw new Error(`${what}: got ${render(actual)}, expected ${render(expected)}`);
}

/** Fails unless the tree is sound and holds exactly these entries. */
export function agreeOnAll(what: string, tree: AnyTree, entries: readonly Entry[]): void {
  const report = tree.check();
  agree(`${what}: check().entries`, report.entries, entries.length);
  agree(`${what}: check() compared the counts`, report.quiet, true);
  agree(`${what}: size`, tree.size, entries.length);
  const found = [...tree];
  if (same(found, entries)) return;
  const at = entries.findIndex((entry, i) => !same(entry, found[i]));
  agree(`${what}: ${found.length} entries, of them number ${at}`, found[at], entries[at]);
  throw new Error(`${what}: ${found.length} entries instead of ${entries.length}`);
}
