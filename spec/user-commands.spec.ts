import { object, u32 } from 'typed-binary';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, defineCommand, f64, json, type ModelName, open, SabtreeError } from '../dist/index.js';
import { RING_CLAIM, VERDICT_DONE, VERDICT_GIVEN_UP } from '../dist/layout/streams.js';
import { files } from '../dist/workers/durable/files-node.js';
import { recover } from '../dist/workers/durable/recovery.js';
import { Streams } from '../dist/workers/streams.js';
import { Verdicts } from '../dist/workers/verdicts.js';
import * as commands from './support/commands.mjs';
import { copyOf, folder } from './support/durable.ts';
import { type AnyStore, codeOf, inTime, SOME_MODELS, withStore } from './support/stores.ts';
import * as varying from './support/varying-commands.mjs';

const MODULE = new URL('./support/commands.mjs', import.meta.url);
const MODELS = SOME_MODELS;

type Command = Parameters<AnyStore['call']>[0];
const { transfer, misbehave, chance, fold, lookAround, describeKeys, count, uneven, linger, isLoaded } =
  commands as unknown as Record<keyof typeof commands, Command>;

async function opened(options: object): Promise<AnyStore> {
  const store = await open({ key: 'u32', value: 'f64', memory: '32MB', commands: MODULE, ...options } as never);
  return store as unknown as AnyStore;
}

/** All replicas have the same content, and their trees are whole. */
async function agree(store: AnyStore): Promise<void> {
  const digests = await store.digests();
  expect(new Set(digests.map(({ digest }) => digest)).size).toBe(1);
  expect(digests).toHaveLength(store.status().replicas.length);
  for (const { replica, entries } of digests) expect(store.replica(replica).check().entries).toBe(entries);
}

describe.each(MODELS)('user-defined commands with %s', (model: ModelName) => {
  let store: AnyStore;
  beforeAll(async () => {
    store = await opened({ model, executors: 2, replicas: 2, commandTimeout: 500 });
  });
  afterAll(() => store.close());

  test('carry several keys at once, all or nothing, and answer', async () => {
    await store.put(1, 100);
    expect(await store.call(transfer, { from: 1, to: 2, amount: 30 })).toBe(true);
    expect(await store.call(transfer, { from: 1, to: 2, amount: 71 })).toBe(false);
    expect(store.callSync(transfer, { from: 2, to: 2, amount: 5 })).toBe(true);
    expect(await store.getAll([1, 2])).toEqual([70, 30]);
    await agree(store);
  });

  test('interleave with other commands as if one came after the other', async () => {
    const accounts = Array.from({ length: 40 }, (_, i) => 100 + i);
    await store.putAll(accounts, new Array(40).fill(10));
    const calls: Promise<unknown>[] = [];
    let other = 0;
    for (let i = 0; i < 600; i++) {
      const from = accounts[(i * 7) % 40];
      const to = accounts[(i * 11 + 3) % 40];
      calls.push(store.call(transfer, { from, to, amount: (i % 5) + 1 }));
      // Inserts beside it, for splits under way.
      if (i % 3 === 0) calls.push(store.put(1000 + other++, i));
      if (i % 50 === 0) {
        calls.push(
          store.getAll(accounts).then((all) => {
            expect((all as number[]).reduce((sum, one) => sum + one, 0)).toBe(400);
          }),
        );
      }
    }
    await inTime('transfers', Promise.all(calls));
    const all = (await store.getAll(accounts)) as number[];
    expect(all.reduce((sum, one) => sum + one, 0)).toBe(400);
    expect(all.every((one) => one >= 0)).toBe(true);
    expect(await store.count({ gte: 1000 })).toBe(other);
    await agree(store);
  });

  test('that fail change nothing, and say why', async () => {
    await store.putAll([5, 6], [50, 60]);
    const keys = [5, 6, 7];
    const failure = (how: string) =>
      store.call(misbehave, { keys, how }).then(
        (result) => `answered ${result}`,
        (error: SabtreeError) => error,
      );
    const thrown = (await failure('throw')) as SabtreeError;
    expect(thrown).toBeInstanceOf(SabtreeError);
    expect(thrown.code).toBe('ERR_COMMAND_FAILED');
    expect(thrown.message).toBe('misbehave: no such thing');
    expect(thrown.value).toEqual({ name: 'RangeError', code: 'E_MINE' });
    const wanted: [string, string][] = [
      ['throw nothing', 'ERR_COMMAND_FAILED'],
      ['result', 'ERR_COMMAND_FAILED'],
      ['promise', 'ERR_COMMAND_FAILED'],
      ['undeclared', 'ERR_UNDECLARED_KEY'],
      ['undeclared, caught', 'ERR_UNDECLARED_KEY'],
      ['key', 'ERR_COMMAND_FAILED'],
      ['value', 'ERR_COMMAND_FAILED'],
      ['range', 'ERR_UNDECLARED_KEY'],
      ['deep', 'ERR_COMMAND_FAILED'],
    ];
    for (const [how, code] of wanted) expect([how, ((await failure(how)) as SabtreeError).code]).toEqual([how, code]);
    expect(((await failure('undeclared')) as SabtreeError).value).toBe(4_000_000);
    expect(await store.getAll(keys)).toEqual([50, 60, undefined]);
    expect(await codeOf(() => store.call(lookAround, { deep: true, limit: 2 }))).toBe('ERR_COMMAND_FAILED');
    expect(await failure('well')).toBe('answered 5');
    expect(await store.getAll(keys)).toEqual([-1, -1, -1]);
    expect(store.status().losses).toBe(0);
    await agree(store);
  });

  test('that never end are stopped in all replicas, and the store goes on', async () => {
    await store.putAll([5, 6], [50, 60]);
    const beside = store.call(transfer, { from: 5, to: 6, amount: 1 });
    await expect(store.call(misbehave, { keys: [5, 6], how: 'endless' })).rejects.toMatchObject({
      code: 'ERR_COMMAND_TIMEOUT',
      value: 'misbehave',
    });
    expect(await beside).toBe(true);
    expect(await store.getAll([5, 6])).toEqual([49, 61]);
    expect(store.status().losses).toBe(0);
    await agree(store);
  });

  test('that stand behind one another see each other, whatever becomes of those between', async () => {
    await store.putAll([40_000, 40_001], [0, 0]);
    const keys = [40_000, 40_001];
    const counts = [0, 0];
    const wanted: unknown[] = [];
    const calls = Array.from({ length: 120 }, (_, i) => {
      const which = i % 2;
      const key = keys[which];
      if (i === 60) {
        wanted.push('ERR_COMMAND_TIMEOUT');
        return store.call(misbehave, { keys: [key], how: 'endless' });
      }
      if (i % 7 === 3) {
        wanted.push(i % 3 === 0 ? 'ERR_COMMAND_FAILED' : 'ERR_UNDECLARED_KEY');
        return store.call(misbehave, { keys: [key], how: i % 3 === 0 ? 'throw' : 'undeclared, caught' });
      }
      if (i % 7 === 5) {
        wanted.push(`${key}: ${counts[which]}`);
        return store.call(describeKeys, { keys: [key] });
      }
      if (i % 31 === 8) {
        // It also adds up what others have written.
        wanted.push(1);
        return store.call(fold, { from: key, to: key + 1 });
      }
      counts[which]++;
      wanted.push(`the count is ${counts[which]}`);
      return store.call(count, key);
    });
    const settled = await inTime('calls', Promise.allSettled(calls));
    expect(settled.map((one) => (one.status === 'fulfilled' ? one.value : one.reason.code))).toEqual(wanted);
    expect(await store.getAll(keys)).toEqual(counts);
    expect(store.status().losses).toBe(0);
    await agree(store);
  });

  test('that read ranges see what those before them have written and deleted', async () => {
    const around = () => store.call(lookAround, { gte: 45_000, lt: 45_010 });
    const calls = [around(), store.call(count, 45_001), around(), store.call(count, 45_000), around()];
    calls.push(store.call(fold, { from: 45_000, to: 45_010 }), around());
    expect(await Promise.all(calls)).toEqual([0, 'the count is 1', 1, 'the count is 1', 2, 2, 1]);
    expect(await store.range({ gte: 45_000, lt: 45_010 })).toEqual([[45_000, 2]]);
    await agree(store);
  });

  test('see one time and one chance in all replicas', async () => {
    const before = Date.now();
    const seen = (await Promise.all([3, 4].map((key) => store.call(chance, key)))) as number[][];
    expect(seen[0]).not.toEqual(seen[1]);
    expect(new Set(seen.flat()).size).toBe(6);
    const time = (store.getSync(3) as number) - seen[0][0] - seen[0][1] - seen[0][2];
    expect(time).toBeGreaterThanOrEqual(before);
    expect(time).toBeLessThanOrEqual(Date.now());
    await agree(store);
  });

  test('may read and write ranges, their own writes among them', async () => {
    await store.putAll([50_000, 50_003, 50_007, 50_010], [1, 2, 3, 4]);
    expect(await store.call(fold, { from: 50_001, to: 50_010 })).toBe(3);
    expect(await store.range({ gte: 50_000, lte: 50_010 })).toEqual([
      [50_000, 1],
      [50_001, 5],
      [50_010, 4],
    ]);
    await agree(store);
  });

  test('with wrong bounds are refused, and the store goes on', async () => {
    await store.putAll([70_000, 70_001], [1, 2]);
    for (const wrong of [{ gte: 'one' }, { lt: -1 }, { prefix: 'a' }, { limit: -1 }, { gt: 1, gte: 1 }]) {
      expect(await codeOf(() => store.call(lookAround, wrong)), JSON.stringify(wrong)).toBe('ERR_COMMAND_FAILED');
    }
    expect(await store.call(lookAround, { gte: 70_000 })).toBe(2);
    expect(store.status().losses).toBe(0);
  });

  test('that only read answer, and cannot write', async () => {
    await store.putAll([1, 2], [8, 9]);
    expect(await store.call(describeKeys, { keys: [1, 2] })).toBe('1: 8, 2: 9');
    expect(await codeOf(() => store.call(describeKeys, { keys: [1], write: true }))).toBe('ERR_COMMAND_FAILED');
    const many = Array.from({ length: 300 }, (_, i) => i + 60_000);
    expect(await codeOf(() => store.call(describeKeys, { keys: many }))).toBe('ERR_COMMAND_FAILED');
    expect(await store.get(1)).toBe(8);
  });

  test('atomic batches and comparisons of several keys', async () => {
    await store.putAll([21, 22], [1, 2]);
    await store.delete(23);
    const results = await store.atomic([
      ['get', 21],
      ['add', 21, 5],
      ['get', 21],
      ['insert', 22, 7],
      ['update', 22, 8],
      ['compareAndSet', 22, 8, 9],
      ['compareAndSet', 22, 8, 10],
      ['has', 23],
      ['put', 23, 3],
      ['delete', 21],
      ['get', 21],
    ]);
    expect(results).toEqual([1, 1, 6, false, true, true, false, false, true, true, undefined]);
    expect(await store.getAll([21, 22, 23])).toEqual([undefined, 9, 3]);
    const wrong: [number, number | undefined, number | undefined][] = [
      [22, 9, 1],
      [23, 4, 1],
    ];
    expect(await store.compareAndSetAll(wrong)).toBe(false);
    expect(
      store.compareAndSetAllSync([
        [21, undefined, 11],
        [22, 9, undefined],
        [23, 3, 13],
      ]),
    ).toBe(true);
    expect(await store.getAll([21, 22, 23])).toEqual([11, undefined, 13]);
    expect(await codeOf(() => store.atomic([['first'] as never]))).toBe('ERR_ARGUMENT');
    await agree(store);
  });

  test('are told to watchers as one', async () => {
    await store.putAll([31, 32], [5, 5]);
    const changes = store.changes({ gte: 31, lte: 32 });
    expect(await store.call(transfer, { from: 31, to: 32, amount: 2 })).toBe(true);
    expect(await codeOf(() => store.call(misbehave, { keys: [31], how: 'throw' }))).toBe('ERR_COMMAND_FAILED');
    expect(await store.delete(32)).toBe(true);
    const told: unknown[] = [];
    for await (const change of changes) {
      told.push([change.type, change.key, 'value' in change ? change.value : undefined]);
      if (told.length === 3) break;
    }
    expect(told).toEqual([
      ['put', 31, 3],
      ['put', 32, 7],
      ['delete', 32, undefined],
    ]);
  });
});

describe('replicas that are lost', () => {
  test.each(['smr', 'sdpe', 'execute-verify', 'opt-psmr', 'keyed'] as const)(
    '%s: every call is carried out once, and answered with its own result',
    async (model) => {
      const store = await opened({ model, executors: 2, replicas: 3 });
      try {
        const done: Promise<unknown>[] = [];
        const answers = new Set<string>();
        let given = 0;
        const give = () => {
          given++;
          done.push(store.call(count, 9).then((text) => answers.add(text as string)));
        };
        for (let kill = 0; kill < 2; kill++) {
          for (let i = 0; i < 150; i++) give();
          // In the midst of it the home replica goes.
          await done[done.length - 140];
          const { losses } = store.status();
          await store.kill(store.status().home);
          for (let i = 0; i < 50; i++) give();
          await inTime('calls', Promise.all(done));
          expect(store.status().losses).toBeGreaterThan(losses);
        }
        expect(await store.get(9)).toBe(given);
        const wanted = Array.from({ length: given }, (_, i) => `the count is ${i + 1}`);
        expect([...answers].sort()).toEqual(wanted.sort());
      } finally {
        await store.close();
      }
    },
  );
});

describe('commands that take their time', () => {
  test.each(['execute-verify', 'keyed'] as const)(
    '%s: however many come behind one another, nobody is taken for stalled',
    async (model) => {
      const store = await opened({ model, executors: 2, replicas: 2, stallTimeout: 1500, commandTimeout: 1400 });
      try {
        const give = (ms: number) => store.call(linger, { key: 1, ms });
        const all = Array.from({ length: 14 }, () => give(250));
        // More is to be read, and those who have nothing to do sleep meanwhile.
        await new Promise((resolve) => setTimeout(resolve, 200));
        for (let i = 0; i < 3; i++) all.push(give(0));
        await inTime('calls', Promise.all(all));
        expect(store.status().losses).toBe(0);
        expect(await store.get(1)).toBe(all.length);
      } finally {
        await store.close();
      }
    },
  );
});

test.each(['keyed', 'execute-verify'] as const)(
  '%s: a change is told of when its command is done, and not when those behind it are',
  async (model) => {
    const store = await opened({ model, executors: 2, replicas: 2 });
    const changes = store.changes();
    let answered = 0;
    const all = Array.from({ length: 6 }, () => store.call(linger, { key: 1, ms: 300 }).then(() => answered++));
    expect(await inTime('a change', changes.next())).toMatchObject({ value: { key: 1, value: 1 } });
    expect(answered).toBeLessThan(4);
    await inTime('calls', Promise.all(all));
    await changes.return();
    await store.close();
  },
);

test('globals that Node.js loads on first use are there before: a stopped command cannot leave them half loaded', async () => {
  const store = await opened({ model: 'smr', replicas: 1 });
  expect(await store.call(isLoaded, ['perf_hooks', 'internal/crypto/webcrypto'])).toBe(true);
  await store.close();
});

describe('one verdict for all replicas', () => {
  test('what is given up elsewhere takes no effect, and those behind it have seen nothing of it', async () => {
    const store = await opened({ model: 'smr', replicas: 2 });
    try {
      const streams = Streams.attach(store.handle.streams);
      const verdicts = new Verdicts(streams);
      for (let planted = 0; planted < 5; planted++) {
        await store.put(5, 0);
        const records = Array.from({ length: 5 }, () => store.call(count, 5).catch(({ code }) => code));
        // They leave in the next turn. Each takes two slots; that another replica gave up the one is said before.
        const head = Atomics.load(streams.words, (streams.ring(0) + RING_CLAIM) >> 2);
        verdicts.decide(0, (head + 2 * planted) | 0, VERDICT_GIVEN_UP);
        const wanted = [1, 2, 3, 4].map((n) => `the count is ${n}`);
        wanted.splice(planted, 0, 'ERR_COMMAND_TIMEOUT');
        expect(await Promise.all(records)).toEqual(wanted);
        await agree(store);
      }
      expect(store.status().losses).toBe(0);
    } finally {
      await store.close();
    }
  });

  test('of commands that are run together those behind a slow one see what was decided about it', async () => {
    const store = await opened({ model: 'smr', replicas: 2, commandTimeout: 200 });
    try {
      for (let round = 0; round < 3; round++) {
        await store.put(5, 0);
        const calls = [count, count, uneven, count, count].map((command) =>
          store.call(command, 5).then(
            (answer) => answer ?? 'done',
            (error: SabtreeError) => error.code,
          ),
        );
        const answers = await Promise.all(calls);
        const slow = answers[2] === 'done' ? 1 : 0;
        if (slow === 0) expect(answers[2]).toBe('ERR_COMMAND_TIMEOUT');
        const counts = [1, 2, 3 + slow, 4 + slow].map((n) => `the count is ${n}`);
        expect([...answers.slice(0, 2), ...answers.slice(3)]).toEqual(counts);
        await agree(store);
      }
      expect(store.status().losses).toBe(0);
    } finally {
      await store.close();
    }
  });

  test('what ends in time in one replica takes effect in the slow one too', async () => {
    // Executors are started one behind the other, so of two replicas with one each, one is slow.
    const store = await opened({ model: 'smr', replicas: 2, commandTimeout: 200 });
    try {
      const ends = await Promise.all([1, 2, 3].map(() => codeOf(() => store.call(uneven, 5))));
      const carried = ends.filter((end) => end === 'no error').length;
      expect(ends.every((end) => end === 'no error' || end === 'ERR_COMMAND_TIMEOUT')).toBe(true);
      expect(carried).toBeGreaterThan(0);
      await agree(store);
      expect(store.tree.get(5)).toBe(carried);
      expect(store.status().losses).toBe(0);
    } finally {
      await store.close();
    }
  });

  test('the first word holds, place by place, also where positions wrap around', () => {
    const shape = { groups: 2, executors: 2, replicas: 2, clients: 1, ringSlots: 256, replyBytes: 1024, calls: true };
    for (const start of [0, 0x7ffffe00, -300]) {
      const verdicts = new Verdicts(Streams.create({ ...shape, start }));
      for (let i = 0; i < 4000; i++) {
        const position = (start + i) | 0;
        const verdict = i % 3 === 0 ? VERDICT_GIVEN_UP : VERDICT_DONE;
        for (const group of [0, 1]) {
          expect(verdicts.decide(group, position, verdict ^ group)).toBe(verdict ^ group);
          expect(verdicts.decide(group, position, verdict ^ group ^ 1)).toBe(verdict ^ group);
        }
        // A replica that is three rings behind finds what was said.
        const late = i - 768;
        if (late >= 0)
          expect(verdicts.decide(0, (start + late) | 0, 1)).toBe(late % 3 === 0 ? VERDICT_GIVEN_UP : VERDICT_DONE);
      }
    }
  });

  test('what was said holds however far a replica is behind, and a late word changes nothing', () => {
    const shape = { groups: 2, executors: 2, replicas: 2, clients: 1, ringSlots: 256, replyBytes: 1024, calls: true };
    for (const start of [0, 0x7ffff000, -3000]) {
      const verdicts = new Verdicts(Streams.create({ ...shape, start }));
      const said = (i: number, group: number) => ((i + group) % 40 === 0 ? VERDICT_GIVEN_UP : VERDICT_DONE);
      for (let i = 0; i < 10_000; i++) {
        for (const group of [0, 1]) verdicts.decide(group, (start + i) | 0, said(i, group));
      }
      for (let i = 0; i < 10_000; i++) {
        for (const group of [0, 1]) {
          const late = verdicts.decide(group, (start + i) | 0, 1 - said(i, group));
          expect([start, i, group, late]).toEqual([start, i, group, said(i, group)]);
        }
      }
    }
  });

  test.each(['sdpe', 'sdpe-pairwise'] as const)('%s: nobody gets far ahead of a slow command', async (model) => {
    const store = await opened({ model, executors: 2, replicas: 2, ring: 256, commandTimeout: 0 });
    try {
      let others = 0;
      const slow = store.call(linger, { key: 1, ms: 1000 });
      const rest = Array.from({ length: 4000 }, () => store.call(linger, { key: 2, ms: 0 }).then(() => others++));
      await inTime('the slow one', slow);
      // Each takes two slots at least; two rings and what is in hand may go by.
      expect(others).toBeLessThan(400);
      await inTime('the others', Promise.all(rest));
      await agree(store);
    } finally {
      await store.close();
    }
  });
});

describe('a log', () => {
  test('carries commands out again, and is refused without them', async () => {
    const path = folder('commands');
    const options = { executors: 2, replicas: 2, log: { path, fsync: 'never' } };
    const first = await opened(options);
    await first.put(1, 100);
    expect(await first.call(transfer, { from: 1, to: 2, amount: 30 })).toBe(true);
    expect(await first.call(fold, { from: 1, to: 10 })).toBe(2);
    expect(await codeOf(() => first.call(misbehave, { keys: [1], how: 'throw' }))).toBe('ERR_COMMAND_FAILED');
    await first.call(chance, 77);
    await first.atomic([
      ['add', 78, 5],
      ['add', 78, 6],
    ]);
    const content = await first.range();
    await first.close();
    expect(content).toHaveLength(3);
    // Another model, and one replica only: the order is the same.
    const again = await opened({ ...options, model: 'sdpe', replicas: 1 });
    expect(await again.range()).toEqual(content);
    await again.close();
    expect(await codeOf(async () => (await opened({ ...options, commands: [] })).close())).toBe('ERR_UNKNOWN_COMMAND');
  });
});

describe('a log and commands that are stopped for their time', () => {
  /** A store with a log; a copy of its directory is what a killed process would leave. */
  async function logged(path: string, options: object, use: (store: AnyStore) => Promise<void>): Promise<string> {
    const store = await opened({ executors: 2, replicas: 2, ...options, log: { path, fsync: 'always' } });
    try {
      await use(store);
      return copyOf(path);
    } finally {
      await store.close();
    }
  }

  /** How many commands a log's directory, as it is now, says were given up. */
  function givenUpIn(path: string): number {
    return recover(files, copyOf(path), { key: 'u32', value: 'f64', valueSize: 8 }).plan.givenUp.length;
  }

  test.each(['smr', 'execute-verify', 'psmr'] as const)(
    '%s: what was given up stays so when the log is read again',
    async (model) => {
      let content: unknown;
      const original = folder('log');
      const path = await logged(original, { model, commandTimeout: 100 }, async (store) => {
        await store.put(1, 5);
        expect(await codeOf(() => store.call(misbehave, { keys: [1, 2], how: 'endless' }))).toBe('ERR_COMMAND_TIMEOUT');
        // Whoever is told so finds it in the log.
        expect(givenUpIn(original)).toBe(1);
        // It would come to its end, given more time.
        expect(await codeOf(() => store.call(linger, { key: 1, ms: 500 }))).toBe('ERR_COMMAND_TIMEOUT');
        // What was answered behind it rests on its having done nothing.
        expect(await store.call(count, 1)).toBe('the count is 6');
        expect(await store.call(count, 3)).toBe('the count is 1');
        content = await store.range();
      });
      expect(content).toEqual([
        [1, 6],
        [3, 1],
      ]);
      expect(givenUpIn(path)).toBe(2);
      for (const replicas of [1, 2]) {
        const again = await opened({ model, executors: 1, replicas, log: { path } });
        expect(await again.range()).toEqual(content);
        await agree(again);
        await again.close();
      }
    },
  );

  test('of lives of a store each means its own, though places come again', async () => {
    const path = folder('log');
    const options = { model: 'smr', replicas: 1, commandTimeout: 100 };
    for (const stopped of [0, 2, 1]) {
      await logged(path, options, async (store) => {
        for (let i = 0; i < 3; i++) {
          const given = { key: 1, ms: i === stopped ? 10_000 : 0 };
          expect(await codeOf(() => store.call(linger, given))).toBe(
            i === stopped ? 'ERR_COMMAND_TIMEOUT' : 'no error',
          );
        }
      });
    }
    const again = await opened({ ...options, log: { path } });
    expect(await again.get(1)).toBe(6);
    await again.close();
  });

  test('one that was still running when the process died is given up once, and then for good', async () => {
    let left = '';
    const path = folder('log');
    await logged(path, { model: 'smr', commandTimeout: 1500 }, async (store) => {
      await store.put(1, 5);
      const endless = codeOf(() => store.call(misbehave, { keys: [1], how: 'endless' }));
      const behind = store.call(count, 1);
      await new Promise((resolve) => setTimeout(resolve, 300));
      left = copyOf(path);
      expect(await endless).toBe('ERR_COMMAND_TIMEOUT');
      expect(await behind).toBe('the count is 6');
    });
    for (let life = 0; life < 2; life++) {
      // In the first life nobody knows that it does not end, before it has had its time.
      expect(givenUpIn(left)).toBe(life);
      const again = await opened({ model: 'smr', replicas: 2, commandTimeout: 100, log: { path: left } });
      expect(await again.get(1)).toBe(6);
      await agree(again);
      await again.close();
    }
  });

  test('what a command writes is no longer than maxValue', async () => {
    const commands = new URL('./support/varying-commands.mjs', import.meta.url);
    const store = await open({ key: 'string', value: 'json', memory: '64MB', maxValue: 1000, commands } as never);
    try {
      const any = store as unknown as AnyStore;
      const { fill } = varying as unknown as Record<string, Command>;
      expect(await any.call(fill, { key: 'a', length: 900 })).toBe(true);
      const error = (await any.call(fill, { key: 'a', length: 2000 }).catch((error: unknown) => error)) as SabtreeError;
      expect([error.code, error.value]).toEqual([
        'ERR_COMMAND_FAILED',
        { name: 'SabtreeError', code: 'ERR_TOO_LARGE' },
      ]);
      const texts = await Promise.all(Array.from({ length: 200 }, () => any.get('a' as never)));
      expect(new Set(texts.map((text) => (text as unknown as string).length))).toEqual(new Set([900]));
    } finally {
      await store.close();
    }
  });
});

test('records: built-in commands need no schema in the executors', async () => {
  const value = object({ x: u32, y: f64 });
  await withStore({ value, replicas: 2, executors: 2 } as never, async (store) => {
    await store.put(1, { x: 1, y: 2 });
    const results = await store.atomic([
      ['get', 1],
      ['put', 2, { x: 3, y: 4 }],
      ['compareAndSet', 1, { x: 1, y: 2 }, { x: 5, y: 6 }],
      ['get', 1],
    ]);
    expect(results).toEqual([{ x: 1, y: 2 }, true, true, { x: 5, y: 6 }]);
    expect(await codeOf(() => store.atomic([['add', 1, { x: 1, y: 1 }]]))).toBe('ERR_UNSUPPORTED');
    expect(await store.compareAndSetAll([[2, { x: 3, y: 4 }, undefined]])).toBe(true);
    expect(await store.getAll([1, 2])).toEqual([{ x: 5, y: 6 }, undefined]);
  });
});

describe('what is refused', () => {
  test('modules, names and types that do not fit', async () => {
    const text = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
    const refused = (options: object) => codeOf(async () => (await opened(options)).close());
    expect(await refused({ commands: './commands.js' })).toBe('ERR_OPTION');
    expect(await refused({ commands: text('throw new Error(1)') })).toBe('ERR_OPTION');
    expect(await refused({ commands: text('throw undefined') })).toBe('ERR_OPTION');
    expect(await refused({ commands: text('export const nothing = 1') })).toBe('ERR_OPTION');
    const index = new URL('../dist/index.js', import.meta.url);
    const named = (name: string) => {
      const rest = "key: 'u32', value: 'f64', args: 'void', result: 'void', keys: 'all', run() {}";
      return text(
        `import { defineCommand } from '${index}'; export const one = defineCommand({ name: '${name}', ${rest} })`,
      );
    };
    expect(await refused({ commands: named('mine') })).toBe('no error');
    expect(await refused({ commands: named('sabtree:atomic') })).toBe('ERR_OPTION');
    expect(await refused({ key: 'f64' })).toBe('ERR_OPTION');
    expect(await refused({ value: 'u32' })).toBe('ERR_OPTION');
    expect(await refused({ model: 'direct' })).toBe('ERR_OPTION');
    expect(await refused({ commandTimeout: 10_000 })).toBe('ERR_OPTION');
    const definition = {
      name: 'x',
      key: 'u32',
      value: 'f64',
      args: 'void',
      result: 'void',
      keys: 'all',
      run() {},
    } as const;
    for (const wrong of [{ name: '' }, { run: 1 }, { keys: 1 }, { maxResult: 0 }, { args: 'date' }, { readOnly: 1 }]) {
      expect(await codeOf(() => defineCommand({ ...definition, ...wrong } as never)), JSON.stringify(wrong)).toBe(
        'ERR_OPTION',
      );
    }
  });

  test('commands that the store does not know, and arguments that do not fit', async () => {
    const store = await opened({ executors: 2, replicas: 1 });
    try {
      const parts = { key: 'u32', value: 'f64', args: 'u32', result: 'void', keys: 'all', run() {} } as const;
      const unknown = defineCommand({ ...parts, name: 'unknown' }) as unknown as Command;
      expect(await codeOf(() => store.call(unknown, 1))).toBe('ERR_UNKNOWN_COMMAND');
      const other = defineCommand({ ...parts, name: 'count' }) as unknown as Command;
      expect(await codeOf(() => store.call(other, 1))).toBe('ERR_SCHEMA_MISMATCH');
      expect(await codeOf(() => store.call({} as Command, 1))).toBe('ERR_ARGUMENT');
      expect(await codeOf(() => store.call(count, -1))).toBe('ERR_VALUE');
      expect(await codeOf(() => store.call(misbehave, { keys: ['one'], how: '' }))).toBe('ERR_KEY');
      expect(await codeOf(() => store.call(misbehave, { keys: [1], how: 'x'.repeat(70_000) }))).toBe('ERR_TOO_LARGE');
      const client = await connect(store.handle);
      expect(await client.call(count as never, 7 as never)).toBe('the count is 1');
      expect(await store.call(count, 7)).toBe('the count is 2');
      await client.close();
    } finally {
      await store.close();
    }
  });
});

test('types follow the schemas', async () => {
  const typed = defineCommand({
    name: 'typed',
    key: 'u32',
    value: 'f64',
    args: 'u32',
    result: 'string',
    keys: (key) => [key satisfies number],
    run: (ctx, key) => `${(ctx.get(key) satisfies number | undefined) ?? 0}`,
  });
  const store = await open({ key: 'u32', value: 'f64', model: 'smr', replicas: 1, memory: '32MB' });
  const wrong = () => {
    // @ts-expect-error: arguments of another type
    void store.call(typed, 'one');
    const result: Promise<string> = store.call(typed, 1);
    return result;
  };
  expect(wrong).toBeTypeOf('function');
  const named = defineCommand({
    name: 'named',
    key: 'u32',
    value: 'f64',
    args: json<{ from: number; to: number }>(),
    result: json<string[]>(),
    keys: ({ from, to }) => [from satisfies number, to],
    run: (_ctx, { from }) => [`${from satisfies number}`],
  });
  const calls = () => {
    // @ts-expect-error: something is missing
    void store.call(named, { from: 1 });
    const result: Promise<string[]> = store.call(named, { from: 1, to: 2 });
    return result;
  };
  expect(calls).toBeTypeOf('function');
  const bare = defineCommand({
    name: 'bare',
    key: 'u32',
    value: 'f64',
    args: 'void',
    result: 'f64',
    keys: 'all',
    run: () => 1,
  });
  const none = () => {
    // @ts-expect-error: it takes nothing
    void store.call(bare, 1);
    const result: Promise<number> = store.call(bare);
    return result;
  };
  expect(none).toBeTypeOf('function');
  await store.close();
});
