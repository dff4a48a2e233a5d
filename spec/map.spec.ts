/**
 * SharedMap is a Map: it goes where one goes, as to types and as to behaviour, but for the differences it states. And what
 * several threads do to one at once.
 */
import * as bin from 'typed-binary';
import { describe, expect, it, test } from 'vitest';
import { type FixedKeyType, type FixedValueType, SharedMap, SharedTree } from '../dist/index.js';
import { seeded } from './support/random.ts';
import { refusal } from './support/refusals.ts';
import { Crew } from './support/threads.ts';
import { agree } from './support/trees.ts';
import { type AnyKey, keyPool, RECORDS, SCALARS } from './support/values.ts';

type AnyMap = SharedMap<AnyKey, unknown>;

function makeMap(key: FixedKeyType, value: FixedValueType): AnyMap {
  return SharedMap.create({ key, value, memory: '32MB', fanout: 4 }) as unknown as AnyMap;
}

const small = () => SharedMap.create({ key: 'u32', value: 'f64', memory: '16MB' });

/** The entries of a Map in key order. */
function sorted(map: ReadonlyMap<AnyKey, unknown>): [AnyKey, unknown][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

describe('as to types', () => {
  it('is a Map, a ReadonlyMap, and an iterable of entries', () => {
    const shared = small();
    const map: Map<number, number> = shared;
    const readonly: ReadonlyMap<number, number> = shared;
    const wide: Map<bigint, { n: number }> = SharedMap.create({ key: 'i64', value: bin.object({ n: bin.u32 }) });
    // @ts-expect-error: its keys are numbers
    const wrong: Map<string, number> = shared;
    map.set(3, 1).set(1, 2);
    wide.set(1n, { n: 5 });
    expect(new Map(readonly)).toEqual(new Map([...wrong]));
    expect(Object.fromEntries(map)).toEqual({ 1: 2, 3: 1 });
    expect(wide.get(1n)).toEqual({ n: 5 });
    expect(String(map)).toBe('[object SharedMap]');
  });

  it('names what a Map names', () => {
    // groupBy is static; the rest of what this or a newer Node.js knows is there, with as many arguments.
    const wanted = Object.getOwnPropertyNames(Map.prototype).filter((name) => name !== 'constructor');
    expect(wanted.length).toBeGreaterThan(9);
    for (const name of [...wanted, 'getOrInsert', 'getOrInsertComputed']) {
      expect(name in SharedMap.prototype, name).toBe(true);
    }
  });
});

describe('does what a Map does, in key order', () => {
  for (const [key, values] of [
    ['u32', SCALARS[2]],
    ['i32', SCALARS[0]],
    ['f64', SCALARS[3]],
    ['i64', RECORDS[0]],
    ['u64', SCALARS[1]],
  ] as const) {
    test(
      `${key} -> ${typeof values.type === 'string' ? values.type : 'record'}`,
      seeded(`map ${key}`, (random) => {
        const map = makeMap(key, values.type);
        const model = new Map<AnyKey, unknown>();
        const keys = keyPool(key, 60, random);
        for (let step = 0; step < 4000; step++) {
          const k = random.pick(keys);
          const value = values.random(random);
          switch (random.below(9)) {
            case 0:
            case 1:
              agree('set', map.set(k, value), map);
              model.set(k, value);
              break;
            case 2:
              agree(`delete ${k}`, map.delete(k), model.delete(k));
              break;
            case 3:
              agree(`get ${k}`, map.get(k), model.get(k));
              break;
            case 4:
              agree(`has ${k}`, map.has(k), model.has(k));
              break;
            case 5:
              if (!model.has(k)) model.set(k, value);
              agree(`getOrInsert ${k}`, map.getOrInsert(k, value), model.get(k));
              break;
            case 6: {
              let asked = 0;
              const had = model.has(k);
              if (!had) model.set(k, value);
              const found = map.getOrInsertComputed(k, (argument) => {
                agree('the callback gets the key', argument, k);
                asked++;
                return value;
              });
              agree(`getOrInsertComputed ${k}`, found, model.get(k));
              agree('callbacks', asked, had ? 0 : 1);
              break;
            }
            case 7:
              // Something has to be left in the end.
              if (step > 3500 || random.chance(0.98)) break;
              agree('clear', map.clear(), undefined);
              model.clear();
              break;
            default: {
              if (step > 3500 || random.chance(0.7)) break;
              const [low, high] = [random.pick(keys), random.pick(keys)];
              const hit = sorted(model).filter(([one]) => one >= low && one < high);
              const limit = random.chance(0.5) ? random.below(3) : undefined;
              const gone = limit === undefined ? hit : hit.slice(0, limit);
              const range = limit === undefined ? { gte: low, lt: high } : { gte: low, lt: high, limit };
              agree('deleteRange', map.deleteRange(range), gone.length);
              for (const [one] of gone) model.delete(one);
            }
          }
          agree('size', map.size, model.size);
        }
        const entries = sorted(model);
        expect(entries.length).toBeGreaterThan(5);
        agree('entries', [...map.entries()], entries);
        agree('iteration', [...map], entries);
        agree(
          'keys',
          [...map.keys()],
          entries.map(([k]) => k),
        );
        agree(
          'values',
          [...map.values()],
          entries.map(([, value]) => value),
        );
        const visited: unknown[] = [];
        const self = {};
        const visit = function (this: unknown, value: unknown, k: AnyKey, whole: Map<AnyKey, unknown>) {
          agree('this', this === self && whole === map, true);
          visited.push([k, value]);
          // What a Map's forEach ignores.
          return false;
        };
        map.forEach(visit, self);
        agree('forEach', visited, entries);
        agree('first', map.first(), entries[0]);
        agree('last', map.last(), entries.at(-1));
        const middle = entries[entries.length >> 1][0];
        agree('floor', map.floor(middle), entries[entries.length >> 1]);
        agree('ceiling', map.ceiling(middle), entries[entries.length >> 1]);
        agree('lower', map.lower(middle), entries[(entries.length >> 1) - 1]);
        agree('higher', map.higher(middle), entries[(entries.length >> 1) + 1]);
        agree('range', [...map.range({ gt: middle, reverse: true })], entries.filter(([k]) => k > middle).reverse());
        map.tree.check();
      }),
    );
  }

  it('large ones are cleared and ranges of them deleted in several goes', () => {
    const map = small();
    map.tree.bulkLoad(Array.from({ length: 50_000 }, (_, i) => [2 * i, i]));
    expect(map.deleteRange({ gte: 10_000, lt: 90_000 })).toBe(40_000);
    expect(map.size).toBe(10_000);
    expect(map.deleteRange({ limit: 3000, reverse: true })).toBe(3000);
    expect(map.last()).toEqual([2 * 46_999, 46_999]);
    map.tree.check();
    map.clear();
    expect([...map]).toEqual([]);
    expect(map.tree.check().leaves).toBe(1);
  });

  it('may be written while it is iterated', () => {
    const map = small();
    for (let i = 0; i < 100; i++) map.set(i, i);
    for (const [key] of map) map.delete(key);
    expect(map.size).toBe(0);
    for (let i = 0; i < 100; i++) map.set(i, i);
    map.forEach((_, key) => {
      map.delete(99 - key);
    });
    expect(map.size).toBe(0);
    // An iterator that is left early may be used again, and is at its end.
    map.set(1, 1).set(2, 2);
    const keys = map.keys();
    expect(keys.next()).toEqual({ done: false, value: 1 });
    for (const _ of keys) break;
    expect(keys.next()).toEqual({ done: true, value: undefined });
    expect(keys[Symbol.iterator]()).toBe(keys);
  });
});

describe('where it differs from a Map', () => {
  it('values are copies', () => {
    const map = SharedMap.create({ key: 'u32', value: bin.object({ n: bin.u32 }), memory: '16MB' });
    const value = { n: 1 };
    map.set(1, value);
    value.n = 2;
    expect(map.get(1)).toEqual({ n: 1 });
    expect(map.get(1)).not.toBe(map.get(1));
  });

  it('wrong arguments are refused, and nothing changes', () => {
    const map = small().set(1, 1);
    const loose = map as unknown as Record<string, (...args: unknown[]) => unknown>;
    for (const method of ['get', 'has', 'delete', 'floor', 'higher']) {
      expect(refusal('ERR_KEY', () => loose[method]('1')).value).toBe('1');
    }
    expect(refusal('ERR_KEY', () => map.set(Number.NaN, 1)).value).toBe(Number.NaN);
    refusal('ERR_KEY', () => map.getOrInsert(-1, 1));
    refusal('ERR_KEY', () => map.deleteRange({ lt: -1 }));
    refusal('ERR_VALUE', () => loose.set(2, 'x'));
    refusal('ERR_VALUE', () => loose.getOrInsert(2, 'x'));
    refusal('ERR_ARGUMENT', () => loose.forEach(5));
    refusal('ERR_ARGUMENT', () => loose.getOrInsertComputed(1, 5));
    // A bound that is missing by mistake must not empty the map.
    for (const range of [undefined, null, {}, { lt: undefined }, { reverse: true }]) {
      refusal('ERR_ARGUMENT', () => loose.deleteRange(range));
    }
    refusal('ERR_ARGUMENT', () => loose.deleteRange({ lt: 5, above: 3 }));
    for (const tree of [undefined, {}, new Map()]) refusal('ERR_ARGUMENT', () => new SharedMap(tree as never));
    refusal('ERR_OPTION', () => SharedMap.create({ key: 'text' as never, value: 'f64' }));
    expect([...map]).toEqual([[1, 1]]);
  });

  it('a callback that throws leaves the map usable', () => {
    const map = small().set(1, 1).set(2, 2);
    const stop = new Error('stop');
    expect(() =>
      map.forEach(() => {
        throw stop;
      }),
    ).toThrow(stop);
    expect(() =>
      map.getOrInsertComputed(3, () => {
        throw stop;
      }),
    ).toThrow(stop);
    expect([...map.keys()]).toEqual([1, 2]);
  });

  it('is closed with its tree, and refuses everything then', () => {
    const tree = SharedTree.create({ key: 'u32', value: 'f64', memory: '16MB' });
    const map = new SharedMap(tree);
    const other = SharedMap.attach<number, number>(map.handle);
    map.set(1, 1);
    map[Symbol.dispose]();
    refusal('ERR_CLOSED', () => tree.get(1));
    for (const act of [() => map.get(1), () => map.size, () => map.keys(), () => map.entries(), () => map.clear()]) {
      refusal('ERR_CLOSED', act);
    }
    expect([...other]).toEqual([[1, 1]]);
    expect(other.tree.stats().threads).toBe(1);
  });
});

describe('several threads', () => {
  it('clear leaves what is written behind the last key that it found', () => {
    const map = small();
    for (let i = 0; i < 10; i++) map.set(i, i);
    let next = 10;
    const { tree } = map;
    const deleteMany = tree.deleteMany.bind(tree);
    tree.deleteMany = (keys) => {
      if (next > 20) throw new Error('clear does not end');
      const removed = deleteMany(keys);
      map.set(next, next++);
      return removed;
    };
    map.clear();
    expect([...map]).toEqual([[10, 10]]);
    map.close();
  });

  it('clear ends while others write behind its last key, and takes what was there', async () => {
    const map = small();
    for (let i = 0; i < 20_000; i++) map.set(i, i);
    const crew = await Crew.gather(map.handle, [
      { task: 'append', args: { from: 100_000, most: 30_000 } },
      { task: 'append', args: { from: 2_000_000_000, most: 30_000 } },
    ]);
    crew.start();
    try {
      for (let round = 0; round < 20; round++) {
        const before = [...map.range({ limit: 1000 })].map(([key]) => key);
        const { size } = map;
        map.clear();
        for (const key of before) expect(map.has(key)).toBe(false);
        expect(size).toBeGreaterThan(0);
        while (map.size === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      crew.stop();
      const written = await crew.results<number>();
      expect(Math.min(...written)).toBeGreaterThan(100);
    } finally {
      crew.stop();
      await crew.ends();
    }
    map.clear();
    expect(map.size).toBe(0);
    map.tree.check();
  });

  it('getOrInsert: one wins, and all get what it wrote', async () => {
    const map = small();
    const keys = 3000;
    const crew = await Crew.gather(
      map.handle,
      [1, 2, 3].map((mine) => ({ task: 'getOrInsert', args: { keys, mine } })),
    );
    crew.start();
    try {
      const found = await crew.results<number[]>();
      const winners = Array.from({ length: keys }, (_, key) => map.get(key));
      for (const each of found) expect(each).toEqual(winners);
      expect(new Set(winners).size).toBeGreaterThan(1);
    } finally {
      await crew.ends();
    }
    expect(map.deleteRange({ lt: keys })).toBe(keys);
  });
});
