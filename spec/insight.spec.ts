/** Seeing inside: what `stats` says agrees with what was done; latencies; `serveStats` and `sabtree top`. */
import { execFile, spawn } from 'node:child_process';
import diagnostics from 'node:diagnostics_channel';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { topView } from '../dist/cli/top-view.js';
import { modelNames, open, type StatsReport, type Store, type StoreOptions } from '../dist/index.js';
import {
  LATENCY_BUCKETS,
  LATENCY_COUNTS,
  LATENCY_PERIOD,
  LATENCY_SIZE,
  LATENCY_UNIT,
  LATENCY_WINDOW_SIZE,
  LATENCY_WINDOWS,
} from '../dist/layout/latency.js';
import { bucketEnd, bucketOf, latencies, Sampler } from '../dist/workers/latency.js';
import { openStopped } from '../dist/workers/store.js';
import { codeOf, inTime } from './support/stores.ts';

const folder = mkdtempSync(join(tmpdir(), 'sabtree-top-'));
const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const index = new URL('../dist/index.js', import.meta.url).href;
const stores: Store[] = [];

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function opened(options: Partial<StoreOptions> = {}): Promise<Store> {
  const whole = { key: 'u32', value: 'f64', memory: '64MB', executors: 2, fanout: 8, ...options } as const;
  const store = (await open(whole as StoreOptions)) as unknown as Store;
  stores.push(store);
  return store;
}

/** Runs the command line to its end. */
function sabtree(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { timeout: 30_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err });
    });
  });
}

describe.each(modelNames)('stats of %s', (model) => {
  it('add up to what was done', async () => {
    const store = await opened({ model });
    const keys = Array.from({ length: 4000 }, (_, i) => i);
    await store.putMany(keys, keys);
    await store.deleteMany(keys.slice(0, 3500));
    const stats = store.stats();
    const { perExecutor, perGroup, memory, tree, latency } = stats;
    expect(perExecutor.length).toBe(stats.threads * stats.replicas);
    for (const group of perGroup) expect(group).toMatchObject({ depth: 0, capacity: 4096 });
    for (const { depth } of perExecutor.filter(({ replica }) => replica === stats.home)) expect(depth).toBe(0);
    // A tree of this fan-out splits hundreds of times, and joins nodes again.
    const home = perExecutor.filter(({ replica }) => replica === stats.home);
    if (model === 'direct') expect(tree.splits).toBeGreaterThan(500);
    else {
      expect(home.reduce((sum, { splits }) => sum + splits, 0)).toBe(tree.splits);
      expect(home.reduce((sum, { merges }) => sum + merges, 0)).toBe(tree.merges);
      expect(tree.merges).toBeGreaterThan(200);
      expect(stats.commands).toBe(7500);
      // Every command fills a slot; what the store sends itself comes on top.
      expect(perGroup.reduce((sum, { slots }) => sum + slots, 0)).toBeGreaterThanOrEqual(7500);
    }
    for (const one of memory.replicas) {
      expect(one.leaves).toBeGreaterThan(100 * 64);
      expect(one.leaves + one.branches + one.values + one.areas + one.free).toBeLessThanOrEqual(one.used);
      expect(one.leaves + one.branches + one.values + one.areas + one.free).toBeGreaterThan(one.used - 70_000);
      expect(one.values).toBe(0);
      expect(one.used).toBeLessThanOrEqual(one.reserved);
      expect(one.reserved).toBeLessThanOrEqual(one.maximum);
      expect(one.maximum).toBe(64 << 20);
    }
    expect(memory.replicas.length).toBe(stats.replicas);
    const { rings, replies, watchers, other, total } = memory.streams;
    expect(total).toBe(store.streams.memory.byteLength);
    expect(rings + replies + watchers + other).toBe(total);
    for (const part of [rings, watchers, other]) expect(part).toBeGreaterThan(0);
    expect(latency.samples).toBeGreaterThan(0);
    expect(latency.samples).toBeLessThanOrEqual(Math.ceil(7500 / 64) + 1);
    const { p50, p90, p99, p999, max } = latency;
    const ascending = [p50, p90, p99, p999, max] as number[];
    expect([...ascending].sort((a, b) => a - b)).toEqual(ascending);
    expect(ascending[0]).toBeGreaterThan(0);
    if (model !== 'direct') {
      const told = store.changes();
      expect(store.stats().watchers).toBe(1);
      await told.return();
    }
    expect(store.stats().watchers).toBe(0);
    expect(() => JSON.stringify(store.stats())).not.toThrow();
  });
});

it('memory of values that vary in length is told by itself, also while threads make the memory grow', async () => {
  const store = await open({
    key: 'string',
    value: 'bytes',
    model: 'keyed',
    executors: 2,
    replicas: 2,
    memory: '64MB',
  });
  stores.push(store as unknown as Store);
  const before = store.stats().memory.replicas;
  for (const { values } of before) expect(values).toBe(0);
  const keys = Array.from({ length: 2000 }, (_, i) => `key ${i}`);
  const value = new Uint8Array(8000);
  let over = false;
  const writing = store.putMany(keys, Array(keys.length).fill(value)).finally(() => {
    over = true;
  });
  while (!over) {
    for (const one of store.stats().memory.replicas) {
      expect(one.leaves + one.branches + one.values + one.areas).toBeLessThanOrEqual(one.used + 70_000);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  await writing;
  await store.digests();
  for (const [i, one] of store.stats().memory.replicas.entries()) {
    expect(one.values).toBeGreaterThan(2000 * 8000);
    expect(one.values).toBeLessThan(2 * 2000 * 8000);
    expect(one.areas - before[i].areas).toBeLessThan(1 << 20);
    expect(one.leaves + one.branches + one.values + one.areas + one.free).toBeGreaterThan(one.used - 70_000);
  }
});

describe('queues', () => {
  it('are as deep as what was sent and not taken', async () => {
    const { store, start } = await openStopped({
      key: 'u32',
      value: 'f64',
      model: 'keyed',
      executors: 2,
      memory: '64MB',
    });
    stores.push(store as unknown as Store);
    const answers = Promise.all(Array.from({ length: 300 }, (_, i) => store.put(i, i)));
    await new Promise((resolve) => setImmediate(resolve));
    const { perGroup, perExecutor } = store.stats();
    expect(perGroup.reduce((sum, { depth }) => sum + depth, 0)).toBe(300);
    expect(perGroup.reduce((sum, { deepest }) => sum + deepest, 0)).toBe(300);
    for (const replica of [0, 1]) {
      const own = perExecutor.filter((one) => one.replica === replica);
      expect(own.map(({ depth }) => depth)).toEqual(perGroup.map(({ depth }) => depth));
    }
    start();
    await inTime('the answers', answers);
    expect(store.stats().perGroup.map(({ depth }) => depth)).toEqual([0, 0]);
  });
});

describe('latencies', () => {
  it('buckets go up without a gap, and are at most an eighth too large', () => {
    let end = 0;
    for (let bucket = 0; bucket < LATENCY_BUCKETS - 1; bucket++) {
      expect(bucketOf(end)).toBe(bucket);
      end = bucketEnd(bucket);
      expect(bucketOf(end - LATENCY_UNIT / 2)).toBe(bucket);
      expect(bucketOf(end)).toBe(bucket + 1);
    }
    for (let ns = 1000; ns < 1e11; ns *= 1.37) {
      expect(bucketEnd(bucketOf(ns))).toBeGreaterThan(ns);
      expect(bucketEnd(bucketOf(ns))).toBeLessThanOrEqual(ns * 1.125 + LATENCY_UNIT);
    }
    expect(bucketOf(Number.MAX_VALUE)).toBe(LATENCY_BUCKETS - 1);
    expect(LATENCY_COUNTS + LATENCY_BUCKETS * 4).toBeLessThanOrEqual(LATENCY_WINDOW_SIZE);
    expect(LATENCY_WINDOWS * LATENCY_WINDOW_SIZE).toBe(LATENCY_SIZE);
  });

  it('are those of the last minute', async () => {
    const store = await opened({ model: 'direct' });
    const { streams } = store;
    const sampler = new Sampler(streams, 5);
    const other = new Sampler(streams, 6);
    const clock = Date.now;
    let now = 1_700_000_000_000;
    Date.now = () => now;
    try {
      for (let i = 0; i < 90; i++) sampler.record(1e6);
      for (let i = 0; i < 10; i++) other.record(1e9);
      expect(latencies(streams)).toMatchObject({ samples: 100, windowMs: 60_000 });
      const { p50, p90, p99, max } = latencies(streams) as { p50: number; p90: number; p99: number; max: number };
      for (const short of [p50, p90]) expect(short / 1000).toBeCloseTo(1, 0);
      for (const long of [p99, max]) expect(long / 1e6).toBeCloseTo(1, 0);
      now += 5 * LATENCY_PERIOD;
      sampler.record(5e6);
      expect(latencies(streams).samples).toBe(101);
      now += LATENCY_PERIOD;
      expect(latencies(streams).samples).toBe(1);
      sampler.record(5e6);
      expect(latencies(streams).samples).toBe(2);
      now += LATENCY_WINDOWS * LATENCY_PERIOD;
      expect(latencies(streams)).toMatchObject({ samples: 0, p50: undefined, max: undefined });
    } finally {
      Date.now = clock;
    }
  });
});

describe('diagnostics channels', () => {
  it('tell of opened and closed stores, and of watches that were cut off', async () => {
    const seen: string[] = [];
    const names = ['sabtree:opened', 'sabtree:closed', 'sabtree:overflow'];
    const listeners = names.map((name) => () => void seen.push(name));
    for (const [i, name] of names.entries()) diagnostics.subscribe(name, listeners[i]);
    const store = await opened({ replicas: 1 });
    const cut = store.changes(undefined, { overflow: 'error' });
    const keys = Uint32Array.from({ length: 60_000 }, (_, i) => i);
    // Its thread is not told to put anything aside: nobody waits for it.
    store.putManySync(keys, Float64Array.from(keys));
    expect(await codeOf(() => cut.next())).toBe('ERR_OVERFLOW');
    await store.close();
    for (const [i, name] of names.entries()) diagnostics.unsubscribe(name, listeners[i]);
    expect(seen).toEqual(['sabtree:opened', 'sabtree:overflow', 'sabtree:closed']);
  });
});

/** Asks a socket once. */
function ask(path: string): Promise<StatsReport> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write('look\n'));
    let text = '';
    socket.on('error', reject);
    socket.on('data', (data) => {
      text += data;
      if (!text.includes('\n')) return;
      socket.destroy();
      resolve(JSON.parse(text));
    });
  });
}

describe('serveStats', () => {
  it('answers at its path, for this user only, until it is closed', async () => {
    const store = await opened();
    await store.put(1, 1);
    const path = join(folder, 'one.sock');
    const server = await store.serveStats(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await ask(path)).toMatchObject({
      sabtree: 'stats',
      pid: process.pid,
      stats: { model: 'opt-psmr', tree: { entries: 1 } },
      status: { state: 'open' },
    });
    expect(await codeOf(() => store.serveStats(path))).toBe('ERR_ARGUMENT');
    await server.close();
    expect(existsSync(path)).toBe(false);
    await store.serveStats(path);
    await ask(path);
    await store.close();
    expect(existsSync(path)).toBe(false);
    expect(await codeOf(() => store.serveStats(path))).toBe('ERR_CLOSED');
  });

  it('takes over what a dead process left, and nothing else', async () => {
    const store = await opened();
    const path = join(folder, 'dead.sock');
    const code = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    await new Promise((resolve) => spawn(process.execPath, ['-e', code]).on('exit', resolve));
    expect(existsSync(path)).toBe(true);
    await store.serveStats(path);
    expect((await ask(path)).pid).toBe(process.pid);
    const file = join(folder, 'file');
    writeFileSync(file, 'mine');
    expect(await codeOf(() => store.serveStats(file))).toBe('ERR_ARGUMENT');
    expect(statSync(file).size).toBe(4);
    expect(await codeOf(() => store.serveStats(join(folder, 'not', 'there')))).toBe('ERR_ARGUMENT');
    expect(await codeOf(() => store.serveStats(7 as never))).toBe('ERR_ARGUMENT');
  });
});

describe('sabtree top', () => {
  it('shows a store of another process', async () => {
    const store = await opened({ model: 'keyed' });
    await store.put(1, 1);
    const path = join(folder, 'top.sock');
    await store.serveStats(path);
    const plain = await sabtree('top', path, '--count', '2', '--interval', '0.1');
    expect(plain.code).toBe(0);
    expect(plain.out).toMatch(/^sabtree top: .*\nkeyed, 2 x 2 executors, open; replicas: 0 home, 1 ready$/m);
    expect(plain.out).toMatch(/\nreplica\/thread +commands +refused.*\n0\/0 +\d/);
    expect(plain.out).toMatch(/\nreplica\/thread +commands\/s/);
    expect(plain.out.includes('\x1b')).toBe(false);
    const json = await sabtree('top', path, '--count', '2', '--interval', '0.1', '--json');
    const reports = json.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as StatsReport);
    expect(reports.map(({ pid, stats }) => [pid, stats.tree.entries])).toEqual([
      [process.pid, 1],
      [process.pid, 1],
    ]);
  });

  it('ends when the store does', async () => {
    const store = await opened();
    const path = join(folder, 'ending.sock');
    await store.serveStats(path);
    const child = spawn(process.execPath, [main, 'top', path, '--interval', '0.1']);
    const ended = new Promise((resolve) => child.on('exit', resolve));
    await new Promise((resolve) => child.stdout.once('data', resolve));
    await store.close();
    expect(await inTime('top', ended)).toBe(0);
  });

  it('finds the stores of a process by its environment', async () => {
    const path = join(folder, 'env.sock');
    const code = `import(${JSON.stringify(index)}).then(async ({ open }) => {
      const options = { key: 'u32', value: 'f64', model: 'smr', replicas: 1, memory: '16MB' };
      const stores = [await open(options), await open({ ...options, model: 'direct' })];
      console.log('open');
      process.stdin.on('data', async () => {
        await Promise.all(stores.map((store) => store.close()));
        process.exit();
      });
    })`;
    const child = spawn(process.execPath, ['-e', code], { env: { ...process.env, SABTREE_TOP: path } });
    const ended = new Promise((resolve) => child.on('exit', resolve));
    await inTime('the stores', new Promise((resolve) => child.stdout.once('data', resolve)));
    expect((await ask(path)).stats.model).toBe('smr');
    expect((await ask(`${path}-2`)).stats.model).toBe('direct');
    child.stdin.write('end\n');
    await inTime('the end', ended);
    expect(existsSync(path)).toBe(false);
  });

  it('puts a load on a store of its own', async () => {
    const { code, out } = await sabtree('top', '--model', 'direct', '--count', '2', '--interval', '0.2', '--json');
    expect(code).toBe(0);
    const [, last] = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as StatsReport);
    expect(last.stats.tree.entries).toBeGreaterThan(100);
    expect(last.stats.latency.samples).toBeGreaterThan(0);
  });

  it('counts no commands where clients work on the tree themselves', async () => {
    const { code, out } = await sabtree('top', '--model', 'direct', '--count', '1', '--plain');
    expect(code).toBe(0);
    expect(out).toMatch(/\ndirect, clients without executors, open; replicas: 0 home\n.*\nlatency p50 /);
    expect(out).not.toContain('commands');
  });

  it.each([
    [['top'], 'takes the path of a socket, or --model'],
    [['top', join(folder, 'nobody.sock')], 'nobody serves a store at'],
    [['top', 'a', 'b'], 'one path'],
    [['top', 'a', '--model', 'smr'], 'not both'],
    [['top', '--model', 'fast'], '--model takes direct, smr, '],
    [['top', '--model', 'smr', '--interval', '0'], '--interval takes a number'],
    [['top', '--nonsense'], 'unknown flag --nonsense; there are --model'],
    [['top', 'a', '--executors', '2'], '--executors is for a store of its own'],
  ])('%o is a wrong call', async (args, message) => {
    const { code, out, err } = await sabtree(...args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(message);
  });

  it('is not misled by somebody else', async () => {
    const path = join(folder, 'echo.sock');
    const server = createServer((socket) => socket.pipe(socket)).listen(path);
    await new Promise((resolve) => server.on('listening', resolve));
    const { code, out, err } = await sabtree('top', path, '--count', '1');
    server.close();
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('no store');
  });

  it('shows rates from the difference of two reports', async () => {
    const store = await opened({ model: 'smr', replicas: 1 });
    const report = (at: number): StatsReport => ({
      sabtree: 'stats',
      pid: 1,
      title: 't',
      at,
      status: store.status(),
      stats: store.stats(),
    });
    const first = report(0);
    for (let i = 0; i < 50; i++) await store.put(i, i);
    const view = topView(report(10_000), first).join('\n');
    expect(view).toMatch(/^commands\/s 5;/m);
    expect(view).toMatch(/^0\/0 +5 /m);
    expect(view).toMatch(/^entries 50,/m);
  });
});
