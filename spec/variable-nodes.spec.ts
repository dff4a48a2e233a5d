/**
 * Nodes of trees whose keys vary in length, as they lie in memory: whatever changes a node gives it a new version and gives its
 * latch back, or readers and scans under way in other threads would take what they have read for one state.
 */
import { describe, expect, it } from 'vitest';
import { SharedTree } from '../dist/index.js';
import { NODE_COUNT, NODE_LEVEL, VERSION_COUNT_SHIFT } from '../dist/layout/node.js';
import { SLOTTED_HEADS, SLOTTED_ROOM } from '../dist/layout/slotted.js';
import { HEADER_ROOT } from '../dist/layout/tree-memory.js';
import { seeded } from './support/random.ts';

const NODE_SIZE = 6272;

/** A node's version word, and all its other bytes. */
interface Look {
  readonly version: bigint;
  readonly rest: string;
}

type Memory = { readonly memory: WebAssembly.Memory };

function look(buffer: ArrayBufferLike, node: number): Look {
  return {
    version: new BigUint64Array(buffer, node, 1)[0],
    rest: Buffer.from(buffer as ArrayBuffer, node + 8, NODE_SIZE - 8).toString('latin1'),
  };
}

/** All nodes of a quiet tree. */
function nodesOf({ memory: { buffer } }: Memory): Map<number, Look> {
  const view = new DataView(buffer);
  const nodes = new Map<number, Look>();
  const visit = (node: number): void => {
    nodes.set(node, look(buffer, node));
    if (view.getUint16(node + NODE_LEVEL, true) === 0) return;
    const children = node + SLOTTED_HEADS + 8 * view.getUint16(node + SLOTTED_ROOM, true);
    for (let i = 0; i <= view.getUint16(node + NODE_COUNT, true); i++) visit(view.getUint32(children + 4 * i, true));
  };
  visit(view.getUint32(HEADER_ROOT, true));
  return nodes;
}

const countOf = (version: bigint) => version >> BigInt(VERSION_COUNT_SHIFT);

describe('what a call changes gets a new version and is not latched', () => {
  it.each([
    ['short keys', 12],
    ['long keys, so that nodes split and merge all the time', 900],
  ])('%s', (name, length) =>
    seeded(`versions ${name}`, (random) => {
      const tree = SharedTree.create({ key: 'string', value: 'u32', memory: '32MB', nodeSize: NODE_SIZE });
      const handle = tree.handle as unknown as Memory;
      const keyOf = (n: number) => `${String(n).padStart(4, '0')}${'k'.repeat(length - 4)}`;
      const most = length > 100 ? 60 : 600;
      let changed = 0;
      let before = nodesOf(handle);
      for (let i = 0; i < 1500; i++) {
        const key = keyOf(random.below(most));
        const growing = i % 600 < 400;
        if (i % 7 === 0) tree.add(key, 1);
        else if (i % 7 === 1) tree.update(key, i);
        else if (random.chance(growing ? 0.8 : 0.1)) tree.put(key, i);
        else tree.delete(key);
        const { buffer } = handle.memory;
        for (const [node, was] of before) {
          const is = look(buffer, node);
          expect(is.version & 1n, `the latch of node ${node}`).toBe(0n);
          if (is.rest === was.rest) continue;
          changed++;
          if (countOf(is.version) <= countOf(was.version))
            throw new Error(`node ${node} was changed: version ${is.version}`);
        }
        before = nodesOf(handle);
      }
      expect(changed).toBeGreaterThan(800);
      const { splits, merges } = tree.stats();
      expect(splits).toBeGreaterThan(0);
      if (length > 100) expect(merges).toBeGreaterThan(0);
      tree.check();
    })(),
  );
});
