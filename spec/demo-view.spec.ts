/** What the demo's views see in the shared bytes, and where they put it: everything of them that needs no canvas. */
import { describe, expect, it } from 'vitest';
import { fieldsOf } from '../demo/view/anatomy.ts';
import { DARK, LIGHT, type Palette, WRITER_COLOURS } from '../demo/view/palette.ts';
import { gridOf, RingsModel, shareOf } from '../demo/view/rings-model.ts';
import { changesOf, isLatched, TreeBytes, writerOf } from '../demo/view/tree-bytes.ts';
import {
  barOf,
  between,
  boxAt,
  Columns,
  clamped,
  everything,
  rowsOf,
  seesAll,
  zoomed,
} from '../demo/view/tree-layout.ts';
import { type Branch, differenceOf, heatOf, shownHeat, TreeModel } from '../demo/view/tree-model.ts';
import { Writers } from '../demo/view/writers.ts';
import { OP_MARKER, OPERATION_CODE, OPERATION_GROUPS, OPERATION_NUMBER } from '../dist/layout/operation.js';
import { EXECUTOR_RELEASED, EXECUTOR_STANDING, RING_SLEEPERS, STREAMS_ALIVE } from '../dist/layout/streams.js';
import { SharedTree } from '../dist/tree.js';
import { Multicast } from '../dist/workers/multicast.js';
import { RingReader } from '../dist/workers/ring.js';
import { Streams } from '../dist/workers/streams.js';

/** Colour numbers as the views give them to threads that nobody knows. */
function coloursOf(memory: WebAssembly.Memory): Uint8Array {
  return new Writers(memory).colourOf;
}

function modelOf(tree: SharedTree): TreeModel {
  const model = TreeModel.of(tree.handle.memory, coloursOf(tree.handle.memory));
  if (model === undefined) throw new Error('no tree there');
  return model;
}

/** Looks until everything is known. `now` is the views' clock, milliseconds. */
function lookAtAll(model: TreeModel, now: number): void {
  // The branches one level further down are known after each look.
  for (let i = 0; i < 8; i++) model.look(now, 0, Number.MAX_SAFE_INTEGER, 1 << 24, Number.POSITIVE_INFINITY);
}

/** All leaves from left to right, as the model has them. */
function leavesOf(model: TreeModel) {
  const found: { address: number; count: number; heat: number; colour: number; latchedAt: number }[] = [];
  const walk = (branch: Branch) => {
    const { leaves } = branch;
    for (let i = 0; leaves !== undefined && i < leaves.n; i++) {
      found.push({
        address: leaves.address[i],
        count: leaves.count[i],
        heat: leaves.heat[i],
        colour: leaves.colour[i],
        latchedAt: leaves.latchedAt[i],
      });
    }
    branch.children.forEach(walk);
  };
  walk(model.top);
  return found;
}

function smallTree(keys: number, fanout = 8): SharedTree {
  const tree = SharedTree.create({ key: 'u32', value: 'f64', memory: '32MB', fanout });
  for (let key = 0; key < keys; key++) tree.put(key * 10, key / 4);
  return tree;
}

describe('the version word', () => {
  it('is taken apart as the layout says', () => {
    const low = (0x8001 << 16) | (1234 << 1) | 1;
    expect(writerOf(low)).toBe(1234);
    expect(isLatched(low)).toBe(true);
    expect(isLatched(low & ~1)).toBe(false);
    expect(changesOf(low, 3)).toBe(3 * 65536 + 0x8001);
    expect(changesOf(-1, -1)).toBe(2 ** 48 - 1);
  });
});

describe('the model of a tree', () => {
  it.each([0, 1, 7, 100, 5000])('has what the tree has, at %d keys', (keys) => {
    const tree = smallTree(keys);
    const model = modelOf(tree);
    lookAtAll(model, 1000);
    const stats = tree.stats();
    const leaves = leavesOf(model);
    expect(leaves.length).toBe(stats.leaves);
    expect(model.leafCount).toBe(stats.leaves);
    expect(model.rootLevel + 1).toBe(stats.height);
    expect(leaves.reduce((sum, leaf) => sum + leaf.count, 0)).toBe(keys);
    expect(model.top.fills / model.leafCount).toBeCloseTo(stats.fill, 5);
    expect(model.bytes.totals()).toMatchObject({ entries: keys, leaves: stats.leaves, splits: stats.splits });
    expect([...model.top.colours].reduce((sum, n) => sum + n, 0)).toBe(stats.leaves);
    tree.close();
  });

  it('finds every leaf where it is', () => {
    const tree = smallTree(3000);
    const model = modelOf(tree);
    lookAtAll(model, 1000);
    leavesOf(model).forEach(({ address }, i) => {
      const { branch, start } = model.locate(i);
      expect(branch.leaves?.address[i - start]).toBe(address);
      expect(model.startOf(branch)).toBe(start);
      const place = model.placeOf(address);
      expect((place?.start ?? 0) + (place?.index ?? 0)).toBe(i);
    });
    expect(model.placeOf(12345)).toBeUndefined();
    tree.close();
  });

  it('knows who changed which leaf, and how often', () => {
    const tree = smallTree(1000);
    const other = SharedTree.attach(tree.handle);
    const model = modelOf(tree);
    lookAtAll(model, 1000);
    const before = leavesOf(model);
    expect(new Set(before.map(({ heat }) => heat))).toEqual(new Set([0]));
    other.put(5000, -1);
    lookAtAll(model, 1016);
    const changed = leavesOf(model).filter(({ heat }) => heat > 0);
    expect(changed.length).toBe(1);
    const copy = model.bytes.copy(changed[0].address);
    if (copy === undefined) throw new Error('nobody writes it, so it can be read');
    const keys = Array.from({ length: copy.count }, (_, i) => model.bytes.key(copy, i));
    expect(keys).toContain(5000);
    expect(model.bytes.value(copy, keys.indexOf(5000))).toBe('-1');
    const colours = coloursOf(tree.handle.memory);
    expect(changed[0].colour).toBe(colours[writerOf(copy.low)]);
    // The other thread's colour, which no other leaf has.
    expect(leavesOf(model).filter(({ colour }) => colour === changed[0].colour).length).toBe(1);
    other.close();
    tree.close();
  });

  it('sees splits and merges, with the halves in their places', () => {
    const tree = smallTree(200);
    const model = modelOf(tree);
    lookAtAll(model, 1000);
    expect(model.events).toEqual([]);
    const before = new Set(leavesOf(model).map(({ address }) => address));
    const { splits } = tree.stats();
    for (let key = 1001; tree.stats().splits === splits; key++) tree.put(key, 0);
    lookAtAll(model, 1016);
    const split = model.events.filter(({ kind, level }) => kind === 'split' && level === 0);
    const leaves = leavesOf(model).map(({ address }) => address);
    const fresh = leaves.filter((address) => !before.has(address));
    expect(split.map(({ right }) => right)).toEqual(fresh);
    expect(fresh.length).toBe(1);
    expect(leaves[leaves.indexOf(fresh[0]) - 1]).toBe(split[0].left);

    const { merges } = tree.stats();
    for (let key = 1000; tree.stats().leaves === leaves.length; key++) tree.delete(key);
    expect(tree.stats().merges).toBeGreaterThan(merges);
    lookAtAll(model, 1032);
    const merge = model.events.filter(({ kind }) => kind === 'merge');
    const gone = leaves.filter((address) => !leavesOf(model).some((leaf) => leaf.address === address));
    expect(gone.length).toBe(1);
    expect(merge.map(({ right }) => right)).toEqual(gone);
    expect(leavesOf(model).map(({ address }) => address)).toContain(merge[0].left);
    tree.close();
  });

  it('follows a tree from one leaf upwards and back down', () => {
    const tree = smallTree(0);
    const model = modelOf(tree);
    let now = 1000;
    const seen = new Set<string>();
    const follow = () => {
      now += 16;
      lookAtAll(model, now);
      expect(leavesOf(model).length).toBe(tree.stats().leaves);
      expect(model.rootLevel + 1).toBe(tree.stats().height);
      for (const { kind } of model.events) seen.add(kind);
    };
    for (let key = 0; key < 600; key++) {
      tree.put((key * 7919) % 600, key);
      follow();
    }
    expect(model.rootLevel).toBeGreaterThanOrEqual(2);
    for (let key = 0; key < 600; key++) {
      tree.delete(key);
      follow();
    }
    expect(model.rootLevel).toBe(0);
    expect([...seen].sort()).toEqual(['grow', 'merge', 'shrink', 'split']);
    tree.close();
  });

  it('keeps the last good copy of a node that is being written', () => {
    const tree = smallTree(300);
    const model = modelOf(tree);
    lookAtAll(model, 1000);
    const [, leaf] = leavesOf(model);
    const words = new Int32Array(tree.handle.memory.buffer);
    const version = words[leaf.address >> 2];
    // As a writer would: the latch, then half of a change.
    Atomics.store(words, leaf.address >> 2, version | 1);
    Atomics.store(words, (leaf.address >> 2) + 2, 0xffff);
    lookAtAll(model, 1016);
    const torn = leavesOf(model)[1];
    expect(torn).toMatchObject({ address: leaf.address, count: leaf.count, latchedAt: 1016 });
    expect(model.bytes.copy(leaf.address)).toBeUndefined();
    Atomics.store(words, (leaf.address >> 2) + 2, leaf.count);
    Atomics.store(words, leaf.address >> 2, version);
    lookAtAll(model, 1032);
    expect(leavesOf(model)[1].latchedAt).toBe(1016);
    expect(model.bytes.copy(leaf.address)?.count).toBe(leaf.count);
    tree.close();
  });

  it('does not run off on bytes that are no node', () => {
    const tree = smallTree(300);
    const bytes = TreeBytes.of(tree.handle.memory);
    const head = { low: 0, high: 0, count: 0, level: 0 };
    for (const address of [0, 8, 65536 + 4, 2 ** 31, 2 ** 32 - 64]) {
      expect(bytes?.head(address, head)).toBe(false);
      expect(bytes?.copy(address)).toBeUndefined();
      expect(bytes?.children(address, head, new Uint32Array(8))).toBe(0);
    }
    expect(TreeBytes.of(new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true }))).toBeUndefined();
    tree.close();
  });

  it('looks at no more than it may, and still comes round', () => {
    const tree = smallTree(40_000);
    const model = modelOf(tree);
    const most = 400;
    const atOnce = model.bytes.branchCapacity + 1 + 4 * (tree.stats().height + 3);
    let looks = 0;
    const { leaves } = tree.stats();
    const known = () => leavesOf(model).filter(({ count }) => count > 0).length;
    do {
      model.look(1000 + looks, 0, Number.MAX_SAFE_INTEGER, most, Number.POSITIVE_INFINITY);
      // The last way down that it begins may go beyond.
      expect(model.looked).toBeLessThan(most + atOnce);
    } while (++looks < 400 && known() < leaves);
    expect(known()).toBe(leaves);
    // It has come to know the tree's width long before: the counters say how many leaves there are.
    expect(model.leafCount).toBe(leaves);
    tree.close();
  });

  it('looks at what is in sight before all else', () => {
    const tree = smallTree(40_000);
    const model = modelOf(tree);
    lookAtAll(model, 1000);
    const keys = [100_000, 300_000];
    for (const key of keys) tree.put(key, -5);
    const [first, second] = keys.map((key) => {
      const all = leavesOf(model);
      return all.findIndex(({ address }) => {
        const copy = model.bytes.copy(address);
        return (
          copy !== undefined && Array.from({ length: copy.count }, (_, i) => model.bytes.key(copy, i)).includes(key)
        );
      });
    });
    expect(second).toBeGreaterThan(first);
    // Only a part of the tree is in sight, and the budget does not reach much further.
    model.look(1016, second - 10, second + 10, 60, Number.POSITIVE_INFINITY);
    const heat = leavesOf(model).map((leaf) => leaf.heat);
    expect(heat[second]).toBeGreaterThan(0);
    expect(heat[first]).toBe(0);
    tree.close();
  });

  it('tells what came and what went', () => {
    const list = (...addresses: number[]) => Uint32Array.from(addresses);
    expect(differenceOf(list(1, 2, 3), list(1, 2, 9, 3))).toEqual({ added: [[2, 9]], removed: [] });
    expect(differenceOf(list(1, 2, 3), list(1, 3))).toEqual({ added: [], removed: [[1, 2]] });
    expect(differenceOf(list(1, 2, 3), list(2, 3))).toEqual({ added: [], removed: [[2, 1]] });
    expect(differenceOf(list(1, 2), list(1, 2))).toEqual({ added: [], removed: [] });
  });

  it('has heat that grows with the rate, and holds while nobody looks', () => {
    expect(heatOf(1, 16)).toBeLessThan(heatOf(100, 16));
    expect(heatOf(1e9, 16)).toBe(1);
    expect(heatOf(1, 1000)).toBeGreaterThan(0.3);
    expect(shownHeat(0.8, 500)).toBe(0.8);
    expect(shownHeat(0.8, 2000)).toBeLessThan(0.1);
  });
});

describe("a node's anatomy", () => {
  it('gives every byte to one field, as the layout has it', () => {
    const tree = smallTree(200);
    const bytes = TreeBytes.of(tree.handle.memory) as TreeBytes;
    const leaf = fieldsOf(bytes, 0, 3);
    const lengthOf = (fields: readonly string[], field: string) => fields.filter((each) => each === field).length;
    expect(leaf.length).toBe(bytes.nodeSize);
    expect(leaf.slice(0, 12)).toEqual([...Array(8).fill('version'), 'count', 'count', 'level', 'level']);
    expect(lengthOf(leaf, 'keys')).toBe(3 * 4);
    expect(leaf.indexOf('keys')).toBe(16);
    expect(lengthOf(leaf, 'values')).toBe(3 * 8);
    expect(leaf.indexOf('values')).toBe(bytes.leafValues);
    const branch = fieldsOf(bytes, 1, 3);
    expect(lengthOf(branch, 'children')).toBe(4 * 4);
    expect(branch.indexOf('children')).toBe(bytes.branchChildren);
    tree.close();
  });
});

describe('the layout of the picture', () => {
  it.each([0, 1, 2, 3, 5, 8])('has rows within the height, none over another, root level %d', (level) => {
    for (const height of [220, 360, 480, 900]) {
      const rows = rowsOf(level, 40, height - 40);
      expect(rows.map((row) => row.level)).toEqual(Array.from({ length: level + 1 }, (_, i) => level - i));
      let bottom = 40;
      for (const row of rows) {
        expect(row.y).toBeGreaterThanOrEqual(bottom - 1e-9);
        bottom = row.y + row.height;
      }
      if (level <= 5 && height >= 360) expect(bottom).toBeLessThanOrEqual(height - 40 + 1e-9);
    }
  });

  it('keeps the point under the pointer where it is', () => {
    const camera = { from: 100, to: 300 };
    const nearer = zoomed(camera, 4, 0.25, 1000);
    expect(nearer.to - nearer.from).toBeCloseTo(50);
    expect(nearer.from + 0.25 * 50).toBeCloseTo(150);
    expect(zoomed(nearer, 1e-6, 0.5, 1000)).toEqual(everything(1000));
    expect(seesAll(zoomed(camera, 0.001, 0.3, 1000), 1000)).toBe(true);
    const closest = zoomed(camera, 1e9, 0.5, 1000);
    expect(closest.to - closest.from).toBeGreaterThan(1);
  });

  it('stays with the tree', () => {
    expect(clamped({ from: -50, to: 50 }, 1000)).toEqual({ from: 0, to: 100 });
    expect(clamped({ from: 990, to: 1090 }, 1000)).toEqual({ from: 900, to: 1000 });
    // A tree of one leaf leaves room on both sides.
    const { from, to } = everything(1);
    expect(from).toBeLessThan(0);
    expect((from + to) / 2).toBeCloseTo(0.5);
  });

  it('moves from one camera to another without a jump at the end', () => {
    const a = { from: 0, to: 1000 };
    const b = { from: 400, to: 410 };
    expect(between(a, b, 1)).toEqual(b);
    const near = between(a, b, 0.9999);
    expect(near.from).toBeCloseTo(b.from, 0);
    const half = between(a, b, 0.5);
    expect(half.to - half.from).toBeCloseTo(100);
    expect(between(a, a, 0.3).from).toBeCloseTo(0);
  });

  it('has bars inside their spans, and in sight as far as that goes', () => {
    for (const [left, right] of [
      [-5000, 9000],
      [10, 14],
      [-200, 100],
      [600, 2000],
      [0, 1280],
    ]) {
      const { x, width } = barOf(left, right, 300, 1280);
      expect(x).toBeGreaterThanOrEqual(left);
      expect(x + width).toBeLessThanOrEqual(right);
      expect(width).toBeLessThanOrEqual(300);
      if (right - Math.max(0, left) >= 310) expect(x).toBeGreaterThanOrEqual(0);
    }
  });

  it('puts as much into columns as there is', () => {
    const one = new Columns(100);
    const many = new Columns(100);
    const colours = new Float64Array(WRITER_COLOURS + 1);
    for (let i = 0; i < 400; i++) one.put(10 + i / 8, 10 + (i + 1) / 8, 0.5, 0.25, (i % 2) + 1);
    colours[1] = 200;
    colours[2] = 200;
    many.putMany(10, 60, 400, 200, 100, colours);
    for (let i = 0; i < 100; i++) {
      expect(one.weight[i]).toBeCloseTo(many.weight[i]);
      expect(one.weight[i]).toBeCloseTo(i >= 10 && i < 60 ? 1 : 0);
      expect(one.fill[i]).toBeCloseTo(many.fill[i]);
      expect(one.colours[i * (WRITER_COLOURS + 1) + 1]).toBeCloseTo(many.colours[i * (WRITER_COLOURS + 1) + 1]);
    }
    // What lies outside is left out, and nothing is left after clearing.
    one.put(-5, 0.5, 1, 0, 0);
    one.put(99.5, 120, 1, 0, 0);
    expect(one.weight[0]).toBeCloseTo(0.5);
    expect(one.weight[99]).toBeCloseTo(0.5);
    one.clear();
    expect(one.weight.every((weight) => weight === 0)).toBe(true);
    expect(one.isEmpty).toBe(true);
  });

  it('finds what is pointed at', () => {
    const box = (address: number, x: number) => ({ address, level: 0, x, y: 10, width: 20, height: 20 });
    const boxes = [box(1, 0), box(2, 30), box(3, 40)];
    expect(boxAt(boxes, 5, 15)?.address).toBe(1);
    expect(boxAt(boxes, 45, 15)?.address).toBe(3);
    expect(boxAt(boxes, 25, 15)).toBeUndefined();
    expect(boxAt(boxes, 26, 15, 8)?.address).toBe(2);
    expect(boxAt([], 0, 0, 100)).toBeUndefined();
  });
});

/** One append: single commands to each group, and one to all of them, like a client's. */
function append(multicast: Multicast, singles: number): boolean {
  const groups = multicast.rings.length;
  const runs = multicast.rings.map((_, group) => {
    const bytes = new Uint8Array(64 * (singles + 1));
    const words = new Int32Array(bytes.buffer);
    for (let i = 0; i <= singles; i++) words[i * 16] = 1 << 16;
    words[singles * 16 + (OPERATION_CODE >> 2)] = (group === 0 ? 23 : OP_MARKER) | (1 << 16);
    words[singles * 16 + (OPERATION_GROUPS >> 2)] = (1 << groups) - 1;
    return { bytes, words, slots: singles + 1, lastMarker: singles };
  });
  const numbered = runs.flatMap((_, group) => [0, group, singles * 64]);
  return multicast.tryAppend(runs, numbered, 1);
}

describe('the model of the rings', () => {
  const shape = { groups: 2, executors: 2, replicas: 2, clients: 1, ringSlots: 256, replyBytes: 64 };

  function opened(start: number) {
    const streams = Streams.create({ ...shape, start: start | 0 });
    const handle = { streams: streams.memory, memories: [], model: 'opt-psmr' };
    const model = new RingsModel(handle as unknown as ConstructorParameters<typeof RingsModel>[0]);
    return { streams, model, multicast: new Multicast(streams, 1) };
  }

  it.each([0, 2 ** 32 - 20])('sees depths, cursors and sync points, from position %d on', (start) => {
    const { streams, model, multicast } = opened(start);
    model.look(0);
    expect(model.rings.map(({ deepest, markers }) => [deepest, markers.length])).toEqual([
      [0, 0],
      [0, 0],
    ]);
    for (let i = 0; i < 3; i++) expect(append(multicast, 9)).toBe(true);
    const reader = new RingReader(streams, 1, 0);
    expect(reader.poll(10)).toBe(10);
    reader.advance(10);
    model.look(16);
    const [first, second] = model.rings;
    expect(first.readers.map(({ depth }) => depth)).toEqual([30, 30]);
    expect(second.readers.map(({ depth }) => depth)).toEqual([20, 30]);
    expect(second.readers.map(({ cursor }) => cursor)).toEqual([(start + 10) % 2 ** 32, start]);
    expect(second.deepest).toBe(30);
    // The same commands in the same order in both rings.
    expect(first.markers.map(({ number, behind }) => [number, behind])).toEqual([
      [1, 21],
      [2, 11],
      [3, 1],
    ]);
    expect(second.markers).toEqual(first.markers);
    expect(first.markers[0].groups).toBe(3);
    expect(model.syncNumber).toBe(3);
  });

  it('sees a full ring, and who does not count for it', () => {
    const { streams, model, multicast } = opened(0);
    while (multicast.rings[0].tryAppend(new Uint8Array(64).fill(1), 1, multicast.keepFromSingles) >= 0);
    model.look(0);
    expect(model.rings.map(({ full }) => full)).toEqual([true, false]);
    expect(model.rings[0].deepest).toBe(model.singles);
    // One replica drains it; the other, which is lost, is waited for by nobody.
    const reader = new RingReader(streams, 0, 0);
    reader.advance(reader.poll(256));
    model.look(16);
    expect(model.rings[0].full).toBe(true);
    Atomics.and(streams.words, STREAMS_ALIVE >> 2, ~2);
    model.look(32);
    expect(model.rings[0].full).toBe(false);
    expect(model.rings[0].readers.map(({ state }) => state)).toEqual([expect.any(String), 'lost']);
    expect(model.threads.filter(({ state }) => state === 'lost').map(({ replica }) => replica)).toEqual([1, 1]);
  });

  it('sees who waits at a sync point and who sleeps', () => {
    const { streams, model } = opened(0);
    const { words } = streams;
    Atomics.store(words, (streams.executor(0, 1) + EXECUTOR_STANDING) >> 2, 7);
    Atomics.or(words, (streams.ring(0) + RING_SLEEPERS) >> 2, 1);
    model.look(0);
    const states = () => model.threads.map(({ state }) => state);
    expect(states()).toEqual(['asleep', 'waiting', 'running', 'running']);
    expect(model.threads[1].standing).toBe(7);
    Atomics.store(words, (streams.executor(0, 1) + EXECUTOR_RELEASED) >> 2, 7);
    model.look(16);
    expect(states()).toEqual(['asleep', 'running', 'running', 'running']);
  });

  it('does not run off on records that are overwritten while it reads', () => {
    const { streams, model, multicast } = opened(0);
    expect(append(multicast, 9)).toBe(true);
    // A record that says it is longer than the ring.
    const record = streams.slots(0) >> 2;
    streams.words[record] = 0x7fff0001;
    streams.words[record + (OPERATION_NUMBER >> 2)] = 99;
    model.look(0);
    expect(model.rings[0].markers).toEqual([]);
    expect(model.rings[1].markers.length).toBe(1);
  });

  it('lays groups out within the width', () => {
    for (let groups = 1; groups <= 32; groups++) {
      for (const width of [340, 800, 1280]) {
        const { columns, rows, cell } = gridOf(groups, width, 260);
        expect(columns * rows).toBeGreaterThanOrEqual(groups);
        expect(columns).toBeLessThanOrEqual(Math.max(1, Math.floor(width / 240)));
        expect(cell).toBeGreaterThan(40);
      }
    }
    expect(shareOf(0, 4096)).toBe(0);
    expect(shareOf(4096, 4096)).toBe(1);
    expect(shareOf(16, 4096)).toBeGreaterThan(0.05);
  });
});

type Rgb = readonly number[];

/** Linear light of a colour's three channels. */
function lightOf(colour: string): Rgb {
  return [1, 3, 5].map((i) => {
    const c = Number.parseInt(colour.slice(i, i + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
}

/** WCAG's contrast. */
function contrast(a: string, b: string): number {
  const [x, y] = [a, b].map((colour) => {
    const [red, green, blue] = lightOf(colour);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  });
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

/** How people see it who lack one kind of cones (Machado et al., 2009), in Oklab. */
const SIGHTS: readonly (readonly Rgb[])[] = [
  [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
];

function seen(colour: string, sight: readonly Rgb[]): Rgb {
  const light = lightOf(colour);
  const [r, g, b] = sight.map((row) =>
    Math.max(
      0,
      Math.min(
        1,
        row.reduce((sum, k, i) => sum + k * light[i], 0),
      ),
    ),
  );
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

describe.each<[string, Palette]>([
  ['dark', DARK],
  ['light', LIGHT],
])('the %s colours', (_, palette) => {
  it('stand out from what is behind them', () => {
    expect(palette.writers.length).toBe(WRITER_COLOURS + 1);
    for (const behind of [palette.background, palette.surface]) {
      for (const writer of palette.writers) expect(contrast(writer, behind)).toBeGreaterThanOrEqual(3);
      for (const mark of [palette.split, palette.merge, palette.alarm, palette.focus]) {
        expect(contrast(mark, behind)).toBeGreaterThanOrEqual(3);
      }
      for (const text of [palette.ink, palette.muted, palette.keys, palette.values, palette.header]) {
        expect(contrast(text, behind)).toBeGreaterThanOrEqual(4.5);
      }
    }
  });

  it('of writers can be told apart, whatever cones one has', () => {
    const writers = palette.writers.slice(1);
    for (const sight of SIGHTS) {
      const points = writers.map((writer) => seen(writer, sight));
      points.forEach((a, i) => {
        for (const b of points.slice(0, i)) expect(Math.hypot(...a.map((x, k) => x - b[k]))).toBeGreaterThan(0.09);
      });
    }
  });
});
