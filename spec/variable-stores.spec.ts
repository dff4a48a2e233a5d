/** Stores whose keys or values vary in length: everything that other stores do, under every execution model. */
import { join } from 'node:path';
import * as bin from 'typed-binary';
import { afterEach, describe, expect, it } from 'vitest';
import {
  connect,
  defineCommand,
  json,
  type KeyType,
  type ModelName,
  modelNames,
  open,
  type StoreOptions,
} from '../dist/index.js';
import { Witnesses } from './support/drills.ts';
import { folder } from './support/durable.ts';
import type { Key, Operation } from './support/history.ts';
import { same } from './support/oracle.ts';
import { prove } from './support/proof.ts';
import { type Random, seeded } from './support/random.ts';
import { makeClock, record } from './support/recorder.mjs';
import { spelt } from './support/spelt.mjs';
import {
  type AnyStore,
  agreeOnReplicas,
  Commands,
  codeOf,
  compare,
  inTime,
  oracleOf,
  REPLICATED,
  runClients,
  until,
} from './support/stores.ts';
import { agree } from './support/trees.ts';
import { SCALARS, type ValueKind } from './support/values.ts';
import * as varying from './support/varying-commands.mjs';
import { fill as bytesFill, twice as bytesTwice } from './support/varying-commands-bytes.mjs';
import { fill as tupleFill, twice as tupleTwice } from './support/varying-commands-tuple.mjs';

type Command = Parameters<AnyStore['call']>[0];
const { move, tidy, lengths } = varying as unknown as Record<'move' | 'tidy' | 'lengths', Command>;
const twiceBytes = bytesTwice as unknown as Command;
const twiceTuple = tupleTwice as unknown as Command;
const fillBytes = bytesFill as unknown as Command;
const fillTuple = tupleFill as unknown as Command;

const ORDERED = REPLICATED;
const stores: AnyStore[] = [];

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
});

/** A store as it is opened. */
async function opened(options: object): Promise<AnyStore> {
  const { fanout, ...given } = { key: 'string', value: 'json', memory: '32MB', ...options } as unknown as StoreOptions;
  // Small nodes, so that they split and merge: of keys of varying length the smallest are large.
  const nodes = given.key === 'u32' ? { fanout } : { nodeSize: 6400 };
  const store = (await open({ ...given, ...(fanout !== undefined && nodes) } as StoreOptions)) as unknown as AnyStore;
  stores.push(store);
  return store;
}

/** A store as if it had integers for keys. */
async function numbered(options: object): Promise<AnyStore> {
  return spelt(await opened(options));
}

const LENGTHS = [0, 1, 7, 8, 100, 1000, 5000, 9000];

function kind(name: string, type: unknown, draw: (random: Random) => unknown): ValueKind {
  return { name, type: type as never, zero: undefined, plus: undefined, random: draw };
}

const note = bin.object({ text: bin.string, stars: bin.dynamicArrayOf(bin.u8) });

/** Values of all lengths, few of them different, so that compareAndSet often succeeds. */
const VARYING: readonly ValueKind[] = [
  kind('string', 'string', (random) => 'é'.repeat(random.pick(LENGTHS) >> 1)),
  kind('bytes', 'bytes', (random) => new Uint8Array(random.pick(LENGTHS)).fill(random.below(3))),
  kind('json', 'json', (random) =>
    random.pick([null, 1.5, 'x'.repeat(random.pick(LENGTHS)), { a: [1, { b: false }] }]),
  ),
  kind('schema', note, (random) => ({
    text: 'n'.repeat(random.pick(LENGTHS) >> 1),
    stars: [1, 2, 3].slice(random.below(3)),
  })),
];

/** Every type of keys, and of values, in some pair. */
const PAIRS: readonly (readonly [KeyType, ValueKind])[] = [
  ['string', VARYING[2]],
  ['bytes', VARYING[0]],
  ['tuple', VARYING[3]],
  ['u32', VARYING[1]],
  ['string', SCALARS[2]],
  ['tuple', SCALARS[3]],
  ['u32', VARYING[2]],
  ['bytes', VARYING[1]],
];

describe.each(modelNames)('%s', (model: ModelName) => {
  const at = modelNames.indexOf(model);
  const pairs = [PAIRS[at % PAIRS.length], PAIRS[(at + 3) % PAIRS.length]].map(([key, values]) => ({
    key,
    values,
    of: values.name,
  }));

  it.each(pairs)('answers are those of sequential execution, and replicas agree: $key to $of', ({ key, values, of }) =>
    seeded(`varying ${model} ${key} ${of}`, async (random) => {
      const replicas = model === 'direct' ? 1 : 2;
      const store = await numbered({ key, value: values.type, model, replicas, executors: 2, fanout: 8 });
      const oracle = oracleOf(values);
      const commands = new Commands(random, 'u32', values, 150);
      for (let round = 0; round < 4; round++) {
        const all = Array.from({ length: 150 }, () => commands.next(8)).filter(([name]) => name !== 'range');
        compare(oracle, all, round % 2 === 0 ? await store.batch(all as never) : store.batchSync(all as never));
        for (let i = 0; i < 8; i++) {
          const range = commands.range();
          const wanted = oracle.range(range as never);
          agree('a range', same(await store.range(range as never), wanted), true);
          agree('a direct range', same([...store.tree.range(range as never)], wanted), true);
          if (range.limit !== undefined || range.reverse !== undefined) continue;
          expect(await store.count(range as never)).toBe(wanted.length);
        }
      }
      if (model === 'direct') return;
      await agreeOnReplicas(store, oracle.entries);
    })(),
  );
});

describe('clients in threads of their own', () => {
  const keys: readonly Key[] = Array.from({ length: 12 }, (_, i) => 10 * i);

  it.each([
    ['opt-psmr', 'string', 'json'],
    ['keyed', 'string', 'f64'],
    ['sdpe', 'tuple', 'json'],
    ['execute-verify', 'bytes', 'f64'],
  ] as const)('%s, %s to %s: what they were answered is linearizable', async (model, key, value) => {
    const store = await numbered({ model, key, value, executors: 2, replicas: 2, fanout: 8 });
    const clock = makeClock();
    const waiting = new Int32Array(new SharedArrayBuffer(4)).fill(3);
    const load = { operations: 500, ms: 250, wide: 150, direct: 'keys', adds: value === 'f64' };
    const clients = [0, 1, 2].map((client) => ({ client, clock, waiting, keys, ...load }));
    const history = (await runClients<Operation[]>(store.handle, 'history', clients)).flat();
    const last = record(store, 'last', clock);
    last.getManySync(keys);
    last.rangeSync();
    expect(history.length).toBeGreaterThan(200);
    prove([...history, ...last.operations], { clientOrder: true });
  });

  it.each(['opt-psmr', 'keyed', 'execute-verify', 'pipelined'] as const)(
    '%s: nothing is lost or done twice while replicas die and are rebuilt',
    async (model) => {
      const store = await numbered({ model, key: 'string', value: 'f64', executors: 2, replicas: 3, fanout: 8 });
      const witnesses = await Witnesses.start(store, ['sync', 'async', 'batch']);
      for (let kill = 1; kill <= 2; kill++) {
        const before = store.stats().commands;
        await until('commands', () => store.stats().commands > before + 500 || store.status().home < 0);
        await store.kill(store.status().home);
        await until('a takeover', () => store.status().failovers === kill && store.status().home >= 0);
        await until('a rebuilt replica', () => store.status().rebuilds === kill);
        await witnesses.check();
      }
      expect(await witnesses.end(store)).toBeGreaterThan(100);
      await agreeOnReplicas(store, [...store.tree.range()] as never);
    },
  );

  it('a schema of varying size is given to connect', async () => {
    const store = await opened({ key: 'string', value: note });
    const value = { text: 'hello', stars: [1, 2] };
    await store.put('a' as never, value);
    expect(await codeOf(() => connect(store.handle))).toBe('ERR_SCHEMA_MISMATCH');
    expect(await codeOf(() => connect(store.handle, { value: 'json' }))).toBe('ERR_SCHEMA_MISMATCH');
    const client = await connect(store.handle, { value: note });
    expect(await client.get('a' as never)).toEqual(value);
    expect(client.tree.get('a' as never)).toEqual(value);
    await client.close();
  });
});

describe('ranges', () => {
  it('come in the order of code points, in pieces of what fits, from both ends', async () => {
    const store = (await opened({ model: 'keyed', value: 'string' })) as unknown as AnyStore;
    const words = ['', 'a', 'a\0', 'ab', 'z', 'é', '\uffff', '𝄞'] as never[];
    await store.putAll(words, words);
    expect((await store.range()).map(([key]) => key)).toEqual(words);
    expect(await store.first()).toEqual(['', '']);
    expect(await store.last()).toEqual(['𝄞', '𝄞']);
    expect((await store.range({ prefix: 'a' as never })).map(([key]) => key)).toEqual(['a', 'a\0', 'ab']);
    expect(await store.count({ prefix: 'a' as never })).toBe(3);
    // Far more than one answer holds, and more entries too.
    const many = Array.from({ length: 6000 }, (_, i) => `key ${String(i).padStart(5, '0')}`) as never[];
    const long = 'v'.repeat(200);
    for (let i = 0; i < many.length; i += 100) {
      await store.putAll(many.slice(i, i + 100), new Array(100).fill(long) as never[]);
    }
    const all = await store.range({ prefix: 'key ' as never });
    expect(all.map(([key]) => key)).toEqual(many);
    expect(all.every(([, value]) => (value as unknown) === long)).toBe(true);
    const back = await store.range({ prefix: 'key ' as never, reverse: true, limit: 5500 });
    expect(back.map(([key]) => key)).toEqual([...many].reverse().slice(0, 5500));
    expect(store.rangeSync({ gt: many[10], lte: many[12] }).map(([key]) => key)).toEqual([many[11], many[12]]);
    expect(await codeOf(() => store.range({ prefix: 'a' as never, gt: 'b' as never }))).toBe('ERR_ARGUMENT');
  });

  it('with a prefix are for keys that vary in length', async () => {
    for (const value of ['json', 'f64']) {
      const store = await opened({ key: 'u32', value, replicas: 1 });
      expect(await codeOf(() => store.range({ prefix: 1 }))).toBe('ERR_ARGUMENT');
      expect(await codeOf(() => store.count({ prefix: 1 }))).toBe('ERR_ARGUMENT');
      expect(await codeOf(() => store.watch({ prefix: 1 }, () => {}))).toBe('ERR_ARGUMENT');
    }
  });
});

describe('many keys at once', () => {
  it('are as many as fit into a command, short ones by the thousand', async () => {
    for (const key of ['string', 'u32'] as const) {
      const store = await opened({ key, model: 'opt-psmr' });
      const keys = Array.from({ length: 1300 }, (_, i) => (key === 'u32' ? i : `k${i}`)) as never[];
      expect(
        await store.putAll(
          keys,
          keys.map(() => 1),
        ),
      ).toBe(keys.length);
      expect(new Set(await store.atomic(keys.map((one) => ['compareAndSet', one, 1, 2] as const)))).toEqual(
        new Set([true]),
      );
      expect(await store.compareAndSetAll(keys.map((one) => [one, 2, 3] as const))).toBe(true);
      expect(new Set(await store.getAll(keys))).toEqual(new Set([3]));
    }
  });

  it('and what they change has to fit, or nothing of it is done', async () => {
    const store = await opened({ value: 'f64', model: 'keyed', ring: 65_536, memory: '64MB' });
    const puts = (n: number) => Array.from({ length: n }, (_, i) => ['put', i.toString(36) as never, i] as const);
    // A megabyte of changes: 40 bytes each.
    expect(await codeOf(() => store.atomic(puts(27_000)))).toBe('ERR_TOO_LARGE');
    expect(await store.count()).toBe(0);
    expect(new Set(await store.atomic(puts(26_000)))).toEqual(new Set([true]));
    expect(await store.count()).toBe(26_000);
  });
});

describe('wrong arguments', () => {
  it('are refused, and nothing is written', async () => {
    const store = await opened({ model: 'opt-psmr', maxValue: 1000 });
    const wrong = async (act: (one: AnyStore) => unknown) => codeOf(() => act(store));
    const lone = '\ud800' as never;
    const long = 'k'.repeat(1025) as never;
    const key = 'k' as never;
    for (const bad of [lone, long, 5 as never, undefined as never, null as never]) {
      expect(await wrong((s) => s.put(bad, 1))).toBe('ERR_KEY');
      expect(await wrong((s) => s.getSync(bad))).toBe('ERR_KEY');
      expect(await wrong((s) => s.putMany([key, bad], [1, 2]))).toBe('ERR_KEY');
      expect(
        await wrong((s) =>
          s.batch([
            ['put', key, 1],
            ['delete', bad],
          ]),
        ),
      ).toBe('ERR_KEY');
      expect(
        await wrong((s) =>
          s.atomic([
            ['put', key, 1],
            ['get', bad],
          ]),
        ),
      ).toBe('ERR_KEY');
      expect(await wrong((s) => s.floor(bad))).toBe('ERR_KEY');
    }
    for (const bad of [undefined, () => 1, 2n ** 70n]) {
      expect(await wrong((s) => s.put(key, bad))).toBe('ERR_VALUE');
      expect(await wrong((s) => s.putAll([key, 'l' as never], [1, bad]))).toBe('ERR_VALUE');
      expect(await wrong((s) => s.putManySync([key, 'l' as never], [1, bad]))).toBe('ERR_VALUE');
    }
    const large = 'x'.repeat(1001);
    expect(await wrong((s) => s.put(key, large))).toBe('ERR_TOO_LARGE');
    expect(await wrong((s) => s.putSync(key, large))).toBe('ERR_TOO_LARGE');
    expect(await wrong((s) => s.putMany([key, 'l' as never], [1, large]))).toBe('ERR_TOO_LARGE');
    expect(await wrong((s) => s.compareAndSet(key, 1, large))).toBe('ERR_TOO_LARGE');
    expect(await wrong((s) => s.atomic([['put', key, large]]))).toBe('ERR_TOO_LARGE');
    const many = Array.from({ length: 200 }, (_, i) => `k${i}`) as never[];
    expect(
      await wrong((s) =>
        s.putAll(
          many,
          many.map(() => 'x'.repeat(900)),
        ),
      ),
    ).toBe('ERR_TOO_LARGE');
    // What a type does not have is an answer of its own in a batch.
    const results = await store.batch([
      ['put', key, 1],
      ['add', key, 1 as never],
      ['get', key],
    ]);
    expect(results[0]).toBe(true);
    expect(results[1]).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    expect(results[2]).toBe(1);
    await store.delete(key);
    expect(await store.count()).toBe(0);
    expect(await store.put(key, 'x'.repeat(997))).toBe(true);
  });

  it('and sizes whose streams would be too large', async () => {
    const large = { value: 'bytes', model: 'keyed', maxValue: 1_040_000, ring: 131_072, replicas: 1 };
    for (const clients of [64, 200]) {
      expect(await codeOf(() => opened({ ...large, executors: 8, clients }))).toBe('ERR_OPTION');
    }
    const store = await opened({ ...large, executors: 2, clients: 8 });
    const value = new Uint8Array(1_040_000).fill(7);
    expect(await store.put('k' as never, value as never)).toBe(true);
    expect(await store.get('k' as never)).toEqual(value);
    expect(await codeOf(() => store.put('k' as never, new Uint8Array(1_040_001)))).toBe('ERR_TOO_LARGE');
  });

  it('what was taken before a command that turns out wrong is carried out, and nobody waits for ever', async () => {
    for (const key of ['string', 'u32'] as const) {
      const store = await opened({ key, value: 'f64', model: 'keyed' });
      const good = Array.from({ length: 600 }, (_, i) => (key === 'u32' ? i : `k${i}`));
      let looks = 0;
      // Right when it is checked, and wrong when it is sent.
      const keys = new Proxy(good, {
        get: (all, name) => (name === '599' && ++looks > 1 ? {} : all[name as never]),
      });
      expect(await codeOf(() => store.putManySync(keys as never[], new Float64Array(600)))).toBe('ERR_KEY');
      expect(looks).toBe(2);
      await until('all before', () => store.tree.size === 599);
      await inTime('close', store.close());
    }
  });

  it('a key that changes once a command was given is the one that it was then', async () => {
    for (const key of ['bytes', 'tuple'] as const) {
      const store = await opened({ key, value: 'u32', model: 'keyed', executors: 4, ring: 256 });
      const one = (key === 'bytes' ? Uint8Array.of(0, 0) : [0, [0]]) as unknown as [number, number | [number]];
      const set = (n: number) => {
        one[0] = n >> 8;
        if (key === 'bytes') one[1] = n & 255;
        else (one[1] as [number])[0] = n & 255;
      };
      const copy = () => structuredClone(one) as never;
      // Far more than has room at once: the first of two writes of a key waits, and the object changes meanwhile.
      const done: Promise<unknown>[] = [];
      for (let n = 0; n < 4000; n++) {
        set(n);
        done.push(store.put(one as never, 1), store.put(copy(), 2));
      }
      done.push(store.getAll([one as never, copy()]));
      set(0);
      (one as unknown[])[1] = key === 'bytes' ? 7 : {};
      await inTime('puts', Promise.all(done));
      expect(await done[done.length - 1]).toEqual([2, 2]);
      const all = await store.range();
      expect(all).toHaveLength(4000);
      expect(new Set(all.map(([, value]) => value))).toEqual(new Set([2]));
      expect(new Set((await store.digests()).map(({ digest }) => digest)).size).toBe(1);
    }
  });

  it('keys of a command that look different each time they are looked at are taken as they were first', async () => {
    const module = new URL('./support/varying-commands.mjs', import.meta.url);
    const store = await opened({ model: 'keyed', executors: 4, commands: module });
    let looks = 0;
    const odd = new Proxy(['a'], {
      get: (all, name) => (name === '0' ? (looks++ === 0 ? 'a' : 'b') : all[name as never]),
    });
    const command = { ...lengths, keys: () => odd } as unknown as Command;
    expect(await store.call(command, ['a'] as never)).toBe('-1');
    expect(looks).toBe(1);
    const huge = { ...lengths, keys: () => ({ length: 2 ** 40 }) } as unknown as Command;
    expect(await codeOf(() => store.call(huge, ['a'] as never))).toBe('ERR_TOO_LARGE');
  });

  it('an answer that cannot be decoded is an error of that call alone', async () => {
    const module = new URL('./support/varying-commands.mjs', import.meta.url);
    const store = await opened({ model: 'keyed', commands: module });
    const decode = () => {
      throw new Error('no such thing');
    };
    const command = { ...lengths, result: { ...lengths.result, decode } } as unknown as Command;
    const calls = [command, lengths].map((one) => codeOf(() => store.call(one, ['a'] as never)));
    expect(await inTime('calls', Promise.all(calls))).toEqual(['ERR_VALUE', 'no error']);
    expect(await store.put('a' as never, 1)).toBe(true);
  });

  it('answers that are too long for one are refused, and what would have written has not', async () => {
    const store = await opened({ model: 'keyed', value: 'string', maxValue: 15_000 });
    const keys = Array.from({ length: 40 }, (_, i) => `k${i}`) as never[];
    const long = 'x'.repeat(15_000) as never;
    for (const key of keys) await store.put(key, long);
    expect(await codeOf(() => store.getAll(keys))).toBe('ERR_TOO_LARGE');
    expect(await store.getAll(keys.slice(0, 10))).toEqual(new Array(10).fill(long));
    const gets = keys.slice(0, 3).map((key) => ['get', key] as const);
    expect(
      await codeOf(() =>
        store.atomic([['put', keys[0], 'new' as never], ...gets.slice(1), ['get', keys[9]], ['get', keys[8]]]),
      ),
    ).toBe('ERR_TOO_LARGE');
    expect(await store.get(keys[0])).toBe(long);
    // Longer than one reply ring together: they are answered one after the other.
    expect(await store.getMany(keys)).toEqual(keys.map(() => long));
    expect((await store.range()).length).toBe(40);
  });
});

describe('watching', () => {
  it.each(['opt-psmr', 'execute-verify', 'direct'] as const)('%s: tells of every change', async (model) => {
    const store = await opened({ model, ...(model === 'direct' && { replicas: 1 }) });
    if (model === 'direct') {
      expect(await codeOf(() => store.changes())).toBe('ERR_UNSUPPORTED');
      return;
    }
    const seen: unknown[] = [];
    const some: unknown[] = [];
    const all = store.watch(
      undefined,
      ({ type, key, ...rest }) => void seen.push([type, key, 'value' in rest ? rest.value : undefined]),
    );
    const users = store.watch({ prefix: 'user/' as never }, ({ key }) => void some.push(key));
    await store.put('user/1' as never, { name: 'Ada' });
    await store.put('user/1' as never, 'x'.repeat(9000));
    await store.insert('user/1' as never, 'not written');
    await store.putAll(['user/2', 'user0'] as never[], [[1], null]);
    await store.atomic([
      ['put', 'a' as never, 1],
      ['delete', 'user/2' as never],
    ]);
    await store.delete('user/1' as never);
    await store.delete('user/1' as never);
    await store.close();
    await Promise.all([all.closed, users.closed]);
    expect(seen.slice(0, 2)).toEqual([
      ['put', 'user/1', { name: 'Ada' }],
      ['put', 'user/1', 'x'.repeat(9000)],
    ]);
    expect(new Set(seen.slice(2, 4).map(String))).toEqual(
      new Set(
        [
          ['put', 'user/2', [1]],
          ['put', 'user0', null],
        ].map(String),
      ),
    );
    expect(new Set(seen.slice(4, 6).map(String))).toEqual(
      new Set(
        [
          ['put', 'a', 1],
          ['delete', 'user/2', undefined],
        ].map(String),
      ),
    );
    expect(seen.slice(6)).toEqual([['delete', 'user/1', undefined]]);
    expect(some).toEqual(['user/1', 'user/1', 'user/2', 'user/2', 'user/1']);
  });

  it('tells of sums', async () => {
    const store = await opened({ value: 'f64' });
    const changes = store.changes();
    for (const by of [1, 2.5]) await store.add('n' as never, by);
    expect((await changes.next()).value).toMatchObject({ key: 'n', value: 1 });
    expect((await changes.next()).value).toMatchObject({ key: 'n', value: 3.5 });
  });
});

describe('on disk', () => {
  it.each(ORDERED.map((model, i) => [model, ...PAIRS[(i + 5) % PAIRS.length]] as const))(
    '%s: a log and snapshots hold everything, %s keys',
    (model, key, values) =>
      seeded(`varying on disk ${model}`, async (random) => {
        const path = join(folder('varying'), 'log');
        const file = join(folder('varying'), 'snapshot');
        const oracle = oracleOf(values);
        const commands = new Commands(random, 'u32', values, 120);
        const types = { key, value: values.type, fanout: 8 };
        for (let life = 0; life < 3; life++) {
          const log = { path, fsync: random.pick(['always', 'interval', 'never'] as const) };
          const store = await numbered({ ...types, model, replicas: 1 + random.below(2), executors: 2, log });
          await agreeOnReplicas(store, oracle.entries);
          const all = Array.from({ length: 120 }, () => commands.next(8)).filter(([name]) => name !== 'range');
          compare(oracle, all, await store.batch(all as never));
          if (life === 1) await store.replaceLog();
          if (life === 2) {
            const info = await store.snapshot(file);
            expect(info).toMatchObject({
              key,
              entries: oracle.size,
              valueSize: values.name === 'f64' || values.name === 'i64' ? 8 : 0,
            });
          }
          await store.close();
        }
        const back = await numbered({ ...types, fanout: 16, model: 'direct', replicas: 1, restore: file });
        agree('what was restored', same([...back.tree.range()], oracle.entries), true);
        const other = await numbered({ ...types, model: 'smr', restore: file });
        await agreeOnReplicas(other, oracle.entries);
        expect(
          await codeOf(() => opened({ key, value: values.name === 'json' ? 'string' : 'json', restore: file })),
        ).toBe('ERR_SCHEMA_MISMATCH');
      })(),
  );
});

describe('user-defined commands', () => {
  it('see keys and values as they are, and their own writes', async () => {
    const module = new URL('./support/varying-commands.mjs', import.meta.url);
    for (const model of ['keyed', 'opt-psmr', 'sdpe'] as const) {
      const store = await opened({ model, commands: module });
      await store.put('cart/1' as never, { items: ['a', 'b'] });
      expect(await store.call(move, { from: 'cart/1', to: 'order/1' } as never)).toEqual({ items: ['a', 'b'] });
      expect(await store.get('cart/1' as never)).toBeUndefined();
      expect(await store.get('order/1' as never)).toEqual({ items: ['a', 'b'] });
      expect(await codeOf(() => store.call(move, { from: 'cart/1', to: 'order/1' } as never))).toBe(
        'ERR_COMMAND_FAILED',
      );
      for (let i = 0; i < 30; i++) await store.put(`log/${i % 3}/é${i}` as never, 'x'.repeat(i * 100));
      expect(await store.call(tidy, 'log/1/' as never)).toEqual(['log/1/sum', 14500]);
      expect(await store.count({ prefix: 'log/1/' as never })).toBe(1);
      expect(await store.call(lengths, ['log/1/sum', 'log/0/é0', 'nothing'] as never)).toBe('5 0 -1');
      const digests = await store.digests();
      expect(new Set(digests.map(({ digest }) => digest)).size).toBe(1);
      await store.close();
    }
  });

  it('with keys of bytes and tuples know equal keys of equal ones', async () => {
    const others = new URL('./support/varying-commands.mjs', import.meta.url);
    expect(await codeOf(() => opened({ key: 'bytes', value: 'f64', commands: others }))).toBe('ERR_OPTION');
    for (const [name, key, command, fill, filled] of [
      ['bytes', Uint8Array.of(1, 255), twiceBytes, fillBytes, [0, 2, 4].map((i) => [Uint8Array.of(i), i])],
      ['tuple', ['a', 1, [true]], twiceTuple, fillTuple, [0, 2, 4].map((i) => [[i, [i]], i])],
    ] as const) {
      const own = new URL(`./support/varying-commands-${name}.mjs`, import.meta.url);
      const store = await opened({ key: name, value: 'f64', commands: own });
      expect(await store.call(command, key)).toBe(2);
      expect(await store.get(key as never)).toBe(2);
      await store.delete(key as never);
      // A key is the one that it was when it was written.
      await store.call(fill, 5);
      expect(await store.range()).toEqual(filled);
    }
  });
});

describe('memory', () => {
  it.each(['keyed', 'sdpe', 'execute-verify'] as const)(
    '%s: long answers of commands that write are kept until the client has them, and no longer',
    async (model) => {
      const store = await opened({ model, value: 'bytes', memory: '24MB', executors: 2, replicas: 3 });
      const long = new Uint8Array(10_000).fill(1);
      await store.putAll(['a', 'b', 'c'] as never[], [long, long, long] as never[]);
      const answers = async (rounds: number) => {
        for (let round = 0; round < rounds; round++) {
          const batch = Array.from({ length: 10 }, (_, i) =>
            store.atomic([
              ['put', `k${i}` as never, long.subarray(0, i) as never],
              ['get', 'a' as never],
              ['get', 'b' as never],
              ['get', 'c' as never],
            ]),
          );
          for (const [, ...got] of await inTime('answers', Promise.all(batch))) {
            expect(got.map((one) => Buffer.compare(one as Uint8Array, long))).toEqual([0, 0, 0]);
          }
        }
      };
      await answers(20);
      const before = store.handle.memories.map((memory) => memory.buffer.byteLength);
      await answers(60);
      await store.kill(store.status().home);
      await answers(30);
      await until('it is rebuilt', () => store.status().rebuilds === 1);
      await answers(30);
      const after = store.handle.memories.map((memory) => memory.buffer.byteLength);
      for (const [i, bytes] of after.entries()) expect(bytes - before[i]).toBeLessThan(4_000_000);
      await agreeOnReplicas(store, [...store.tree.range()] as never);
    },
  );

  it('does not grow while values of all lengths are overwritten and deleted', async () => {
    const store = await opened({ model: 'keyed', value: 'bytes', memory: '24MB', executors: 1, replicas: 2 });
    const keys = Array.from({ length: 50 }, (_, i) => `k${i}`) as never[];
    const churn = (rounds: number) => {
      for (let round = 0; round < rounds; round++) {
        const values = keys.map((_, i) => new Uint8Array((round * 977 + i * 131) % 12_000).fill(i));
        store.putManySync(keys, values as never[]);
        if (round % 3 === 0) store.deleteManySync(keys.slice(0, 25));
      }
    };
    churn(40);
    const before = store.handle.memories.map((memory) => memory.buffer.byteLength);
    // Some 150 MB through 24 MB of memory.
    churn(500);
    expect(store.handle.memories.map((memory) => memory.buffer.byteLength)).toEqual(before);
    for (const { replica } of await store.digests())
      expect(store.replica(replica).check().entries).toBe(store.tree.size);
  });
});

it('a client keeps nothing of what was answered', async () => {
  const store = await opened({ model: 'keyed', value: 'bytes', maxValue: 100_000, ring: 16_384 });
  const value = new Uint8Array(100_000) as never;
  for (let i = 0; i < 20; i++) await store.put(`k${i}` as never, value);
  const { records, invocations } = store.client as unknown as Record<'records' | 'invocations', unknown[]>;
  expect(records.filter((one) => one !== undefined)).toHaveLength(0);
  expect(invocations.filter((one) => one !== undefined)).toHaveLength(0);
});

describe('types', () => {
  it('are inferred from the options', async () => {
    const store = await open({ key: 'tuple', value: 'string', memory: '16MB', replicas: 1 });
    try {
      await store.put(['a', 1n, null], 'value');
      const value: string | undefined = await store.get(['a', 1n, null]);
      expect(value).toBe('value');
      // @ts-expect-error a number is no string
      const wrong = () => store.put(['a'], 5);
      expect(await codeOf(wrong)).toBe('ERR_VALUE');
      const command = defineCommand({
        name: 'typed',
        key: 'string',
        value: 'json',
        args: json<{ key: string }>(),
        result: 'void',
        keys: ({ key }) => [key],
        run: (ctx, { key }) => void ctx.put(key, 1),
      });
      // @ts-expect-error a command for keys of another type
      expect(await codeOf(() => store.call(command, { key: 'a' }))).toBe('ERR_UNKNOWN_COMMAND');
    } finally {
      await store.close();
    }
  });
});
