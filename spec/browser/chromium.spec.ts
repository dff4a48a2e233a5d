/** What the package does in a real Chromium: builds.spec.ts has how it comes there. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Frame, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modelNames, type StoreHandle } from '../../dist/index.js';
import { buildTestPage, bundleModule } from '../support/browser-builds.ts';
import { LAUNCH_LIMIT, launchChromium, openPage } from '../support/chromium.ts';
import { openTestPage, withoutWorkers } from '../support/in-page.ts';
import { ROOT } from '../support/package.ts';
import { type PageServer, servePages } from '../support/page-server.ts';

let folder = '';
let browser: Browser;
let server: PageServer;

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'sabtree-page-')));
  await buildTestPage(folder);
  server = await servePages({ folders: { '/': folder, '/dist/': join(ROOT, 'dist') } });
  browser = await launchChromium();
}, LAUNCH_LIMIT);

afterAll(async () => {
  await browser?.close();
  await server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A page in which nothing may go wrong, and whose threads have all ended when `body` is done. */
async function inPage(body: (page: Page) => Promise<void>): Promise<void> {
  const { page, complaints, close } = await openTestPage(browser, `${server.url}/`);
  await body(page);
  await withoutWorkers(page);
  expect(complaints).toEqual([]);
  // Nor does any of them hold the lock that says it lives.
  const locks = await page.evaluate(async () => (await navigator.locks.query()).held?.map(({ name }) => name));
  expect(locks).toEqual([]);
  await close();
}

/** Opens a store in the page, writes 2, and gives what is read. */
function writeAndRead(page: Page): Promise<number | undefined> {
  return page.evaluate(async () => {
    const store = await sabtree.open({ key: 'u32', value: 'f64', executors: 1, memory: '16MB' });
    await store.put(1, 2);
    const value = store.tree.get(1);
    await store.close();
    return value;
  });
}

/** What `open` rejects with in a page; it has to do so before threads that do not answer would be given up. */
function refusal(page: Page | Frame): Promise<string> {
  return page.evaluate(() =>
    Promise.race([
      sabtree.open({ key: 'u32', value: 'f64', executors: 1, memory: '16MB' }).then(
        () => 'opened',
        ({ code, message }) => `${code} ${message}`,
      ),
      new Promise<string>((resolve) => setTimeout(resolve, 15_000, 'neither opened nor rejected within 15 s')),
    ]),
  );
}

describe('an isolated page', () => {
  // The demo page opens all of them.
  it.each(modelNames.filter((_, i) => i % 2 === 0))('opens a store of the model %s', async (model) => {
    await inPage(async (page) => {
      const result = await page.evaluate(async (model) => {
        const store = await sabtree.open({ key: 'u32', value: 'f64', model, executors: 2, memory: '16MB' });
        const replies = await Promise.all(Array.from({ length: 300 }, (_, key) => store.put(key, key / 2)));
        await store.delete(7);
        const entries = await store.range({ gte: 5, lt: 10 });
        const result = {
          added: replies.filter((fresh) => fresh).length,
          entries,
          // A direct read: no promise.
          direct: [store.tree.get(299), store.tree.get(7), store.tree.size],
          count: await store.count(),
          digests: new Set((await store.digests()).map(({ digest }) => digest)).size,
        };
        await store.close();
        const refused = await store.put(1, 1).catch(({ code }) => code);
        return { ...result, refused };
      }, model);
      expect(result).toEqual({
        added: 300,
        entries: [5, 6, 8, 9].map((key) => [key, key / 2]),
        direct: [149.5, undefined, 299],
        count: 299,
        digests: 1,
        refused: 'ERR_CLOSED',
      });
    });
  });

  it('carries out commands of the user, from a module that all threads import', async () => {
    await bundleModule(
      `import { defineCommand } from 'sabtree';
      export const raise = defineCommand({
        name: 'raise', key: 'u32', value: 'u32', args: 'u32', result: 'string',
        keys: (key) => [key, key + 1],
        run(ctx, key) {
          if (key > 100) throw new RangeError('too large');
          for (const each of [key, key + 1]) ctx.put(each, (ctx.get(each) ?? 0) + 1);
          return 'raised to ' + ctx.get(key);
        },
      });`,
      join(folder, 'commands.js'),
    );
    await inPage(async (page) => {
      const result = await page.evaluate(async () => {
        const url = new URL('commands.js', location.href).href;
        // Not written as an import: vitest would make it its own.
        const { raise } = await new Function('url', 'return import(url)')(url);
        const store = await sabtree.open({ key: 'u32', value: 'u32', executors: 2, memory: '16MB', commands: url });
        const answers = await Promise.all([1, 2, 1].map((key) => store.call(raise, key)));
        const refused = await store.call(raise, 101).catch(({ code, message }) => [code, message]);
        const entries = await store.range();
        const digests = new Set((await store.digests()).map(({ digest }) => digest)).size;
        await store.close();
        return { answers, refused, entries, digests };
      });
      expect(result).toEqual({
        answers: ['raised to 1', 'raised to 2', 'raised to 2'],
        refused: ['ERR_COMMAND_FAILED', 'raise: too large'],
        entries: [
          [1, 2],
          [2, 3],
          [3, 1],
        ],
        digests: 1,
      });
    });
  });

  it('loses nothing when the home replica is killed, and has it back', async () => {
    await inPage(async (page) => {
      const result = await page.evaluate(async () => {
        const store = await sabtree.open({ key: 'u32', value: 'u32', executors: 2, replicas: 2, memory: '16MB' });
        const events: string[] = [];
        store.onEvent(({ type }) => events.push(type));
        const added: number[] = [];
        let writing = true;
        // Reads that are made while there is no home replica wait for the next one.
        let wrong = 0;
        const write = (async () => {
          for (let key = 0; writing; key++) {
            await store.put(key, key + 1);
            added.push(key);
            if (store.tree.get(key) !== key + 1) wrong++;
          }
        })();
        await until(() => added.length > 50);
        const { home } = store.status();
        await store.kill(home);
        await until(() => events.includes('rebuilt'));
        const before = added.length;
        await until(() => added.length > before + 50);
        writing = false;
        await write;
        const lost = added.filter((key) => store.tree.get(key) !== key + 1);
        const { failovers, replicas } = store.status();
        const digests = (await store.digests()).map(({ digest, entries }) => `${digest} ${entries}`);
        await store.close();
        return { home, lost, wrong, failovers, states: replicas.map(({ state }) => state), digests, events };
      });
      expect(result).toMatchObject({ home: 0, lost: [], wrong: 0, failovers: 1, states: ['ready', 'home'] });
      expect(result.events).toEqual(expect.arrayContaining(['lost', 'failover', 'rebuilt']));
      expect(result.digests.length).toBe(2);
      expect(result.digests[0]).toBe(result.digests[1]);
    });
  });

  it('shares trees and maps with its workers', async () => {
    await inPage(async (page) => {
      const result = await page.evaluate(async () => {
        const tree = sabtree.SharedTree.create({ key: 'u32', value: 'f64', memory: '16MB' });
        const map = sabtree.SharedMap.create({ key: 'string', value: 'json', memory: '16MB' });
        const workers = [startWorker(), startWorker()];
        const filled = await Promise.all(
          workers.map((worker, i) => ask(worker, 'fill', { handle: tree.handle, from: i * 2000, to: (i + 1) * 2000 })),
        );
        await ask(workers[0], 'map', { handle: map.handle, key: 'käse', value: { from: ['a worker'], bytes: 1 } });
        for (const worker of workers) worker.terminate();
        return { filled, size: tree.size, last: tree.get(3999), check: tree.check().entries, value: map.get('käse') };
      });
      expect(result).toEqual({
        ...{ filled: [2000, 2000], size: 4000, last: 7998, check: 4000 },
        value: { from: ['a worker'], bytes: 1 },
      });
    });
  });

  it('refuses to block, and its workers may', async () => {
    await inPage(async (page) => {
      const result = await page.evaluate(async () => {
        const store = await sabtree.open({ key: 'u32', value: 'f64', executors: 1, memory: '16MB' });
        const codes = [
          () => store.putSync(1, 1),
          () => store.getSync(1),
          () => store.batchSync([['put', 1, 1]]),
          () => store.putManySync([1], [1]),
        ].map((call) => {
          try {
            return call();
          } catch (error) {
            return (error as { code?: string }).code;
          }
        });
        const before = store.tree.size;
        const worker = startWorker();
        await ask(worker, 'connect', { handle: store.handle });
        const used = await ask(worker, 'use', { key: 10 });
        const seen = [await store.get(10), store.tree.get(11)];
        await ask(worker, 'leave');
        worker.terminate();
        await store.close();
        return { codes, before, used, seen };
      });
      expect(result.codes).toEqual(Array(4).fill('ERR_WOULD_BLOCK'));
      expect(result).toMatchObject({ before: 0, used: [true, 10.5, 11.5, true], seen: [10.5, 11.5] });
    });
  });

  it('hears of changes, in the page and in a worker', async () => {
    await inPage(async (page) => {
      const result = await page.evaluate(async () => {
        const store = await sabtree.open({ key: 'u32', value: 'f64', executors: 2, memory: '16MB' });
        const worker = startWorker();
        await ask(worker, 'connect', { handle: store.handle });
        await ask(worker, 'watch');
        const heard: unknown[] = [];
        const watch = store.watch({ gte: 2 }, ({ type, key }) => heard.push([type, key]));
        await store.put(1, 1);
        await store.put(2, 2);
        await store.delete(1);
        await store.delete(2);
        await until(() => heard.length === 2);
        watch.close();
        await watch.closed;
        const all = await until(async () => {
          const all = (await ask(worker, 'heard')) as unknown[];
          return all.length === 4 ? all : undefined;
        });
        worker.terminate();
        await store.close();
        return { heard, all };
      });
      const changes = [
        ['put', 1],
        ['put', 2],
        ['delete', 1],
        ['delete', 2],
      ];
      expect(result).toEqual({ heard: [changes[1], changes[3]], all: changes });
    });
  });

  it('needs no timers to give entries and changes: a hidden page has them once a second', async () => {
    await inPage(async (page) => {
      const result = await page.evaluate(async () => {
        const store = await sabtree.open({ key: 'u32', value: 'u32', executors: 1, replicas: 1, memory: '16MB' });
        const keys = Uint32Array.from({ length: 10_000 }, (_, key) => key);
        const { setTimeout } = globalThis;
        globalThis.setTimeout = ((call: () => void, ms = 0) =>
          setTimeout(call, Math.max(1000, ms))) as typeof setTimeout;
        const began = performance.now();
        let heard = 0;
        const watch = store.watch(undefined, () => {
          heard++;
        });
        await store.putMany(keys, keys);
        let given = 0;
        for await (const _ of store.entries()) given++;
        while (heard < keys.length) await store.has(0);
        const seconds = (performance.now() - began) / 1000;
        globalThis.setTimeout = setTimeout;
        watch.close();
        await store.close();
        return { given, heard, seconds };
      });
      expect(result).toMatchObject({ given: 10_000, heard: 10_000 });
      // With timers some 40 seconds.
      expect(result.seconds).toBeLessThan(20);
    });
  });

  it('notices when a worker with a client is ended', async () => {
    await inPage(async (page) => {
      const result = await page.evaluate(async () => {
        const store = await sabtree.open({ key: 'u32', value: 'f64', executors: 1, clients: 2, memory: '16MB' });
        const lost: number[] = [];
        store.onEvent((event) => {
          if (event.type === 'client-lost') lost.push(event.client);
        });
        const ids = [];
        // There is room for one: each comes only if the one before is known to be gone.
        for (let i = 0; i < 3; i++) {
          const worker = startWorker();
          const id = (await ask(worker, 'connect', { handle: store.handle })) as number;
          ids.push(id);
          await ask(worker, 'use', { key: i * 10 });
          worker.terminate();
          await until(() => store.status().clients === 1);
        }
        // One that closed its client is not lost.
        const worker = startWorker();
        await ask(worker, 'connect', { handle: store.handle });
        await ask(worker, 'leave');
        worker.terminate();
        await until(() => store.status().clients === 1);
        const { clientsLost } = store.status();
        await store.close();
        return { lost, same: new Set(ids).size === 1 && ids[0] === lost[0], clientsLost };
      });
      expect(result).toMatchObject({ same: true, clientsLost: 3 });
      expect(result.lost.length).toBe(3);
    });
  });

  it('tells who awaits something of a store when the worker that opened it is ended', async () => {
    await inPage(async (page) => {
      const result = await page.evaluate(async () => {
        const owner = startWorker();
        const options = { key: 'u32', value: 'f64', executors: 1, memory: '16MB' };
        const client = await sabtree.connect((await ask(owner, 'open', { options })) as StoreHandle);
        await client.put(1, 2);
        const watch = client.watch(undefined, () => {});
        owner.terminate();
        const codes = [];
        // Terminated threads may run on for a while.
        for (let code: unknown; code === undefined; ) {
          code = await client.put(1, 2).then(
            () => undefined,
            (error) => error.code,
          );
          if (code !== undefined) codes.push(code);
        }
        codes.push(await watch.closed.catch(({ code }) => code));
        const direct = client.tree.get(1);
        await client.close();
        return { codes, direct };
      });
      expect(result).toEqual({ codes: ['ERR_REPLICAS_LOST', 'ERR_REPLICAS_LOST'], direct: 2 });
    });
  });

  it('knows that a thread has ended, which the browser does not tell: terminated threads may run on', async () => {
    await inPage(async (page) => {
      const content = `import * as life from '/dist/workers/browser/life.js'; globalThis.life = life;`;
      await page.addScriptTag({ type: 'module', content });
      await page.waitForFunction(() => 'life' in globalThis);
      const moves = await page.evaluate(async () => {
        const { life } = globalThis as unknown as { life: typeof import('../../dist/workers/browser/life.js') };
        const script = `
          navigator.locks.request(name, () => new Promise(() => postMessage('lives')));
          onmessage = ({ data }) => setTimeout(() => {
            postMessage('busy');
            for (const words = new Int32Array(data); ; ) Atomics.add(words, 0, 1);
          });`;
        const url = URL.createObjectURL(new Blob([script]));
        const moves = await Promise.all(
          ['a', 'b'].map(async (name) => {
            const words = new Int32Array(new SharedArrayBuffer(4));
            const worker = new Worker(url, { name });
            const said = (what: string) =>
              new Promise<void>((resolve) => {
                worker.addEventListener('message', ({ data }) => data === what && resolve());
              });
            await said('lives');
            const busy = said('busy');
            worker.postMessage(words.buffer);
            await busy;
            worker.terminate();
            await life.whenDead(name);
            const count = Atomics.load(words, 0);
            await new Promise((resolve) => setTimeout(resolve, 50));
            return Atomics.load(words, 0) - count;
          }),
        );
        return moves;
      });
      expect(moves).toEqual([0, 0]);
    });
  });

  it('saves snapshots into streams and begins with their bytes; files are refused', async () => {
    await inPage(async (page) => {
      const result = await page.evaluate(async () => {
        const options = { key: 'u32', value: 'f64', executors: 1, memory: '16MB' } as const;
        const store = await sabtree.open(options);
        for (let key = 0; key < 100; key++) await store.put(key, key);
        const chunks: Uint8Array<ArrayBuffer>[] = [];
        const target = new WritableStream<Uint8Array>({
          write(chunk) {
            chunks.push(new Uint8Array(chunk));
          },
        });
        const { entries } = await store.snapshot(target);
        const codes = [await store.snapshot('a.snapshot').catch(({ code }) => code)];
        await store.close();
        const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
        const again = await sabtree.open({ ...options, restore: bytes });
        const size = again.tree.size;
        await again.close();
        codes.push(await sabtree.open({ ...options, log: { path: 'log' } }).catch(({ code }) => code));
        codes.push(await sabtree.open({ ...options, restore: 'a.snapshot' }).catch(({ code }) => code));
        return { entries, size, codes };
      });
      expect(result).toEqual({ entries: 100, size: 100, codes: Array(3).fill('ERR_UNSUPPORTED') });
    });
  });
});

describe('without Atomics.waitAsync', () => {
  it('waits without it, in the page and in workers, and ends what waits for it', async () => {
    const { page, complaints, close } = await openTestPage(browser, `${server.url}/`, async (context) => {
      await context.addInitScript(() => {
        delete (Atomics as Partial<typeof Atomics>).waitAsync;
      });
    });
    const result = await page.evaluate(async () => {
      const store = await sabtree.open({ key: 'u32', value: 'f64', executors: 2, memory: '16MB' });
      for (let key = 0; key < 200; key++) await store.put(key, key);
      const heard: number[] = [];
      const watch = store.watch({ gte: 1000 }, ({ key }) => heard.push(key));
      const worker = startWorker('without waitAsync');
      await ask(worker, 'connect', { handle: store.handle });
      const used = await ask(worker, 'use', { key: 1000 });
      await until(() => heard.length === 2);
      watch.close();
      worker.terminate();
      const size = await store.count();
      await store.close();
      return { missing: !('waitAsync' in Atomics), used, heard, size };
    });
    expect(result).toEqual({ missing: true, used: [true, 1000.5, 1001.5, false], heard: [1000, 1001], size: 202 });
    await withoutWorkers(page);
    expect(complaints).toEqual([]);
    await close();
  });
});

describe('a page that is not isolated', () => {
  it('gets an error that names the headers, and no other', async () => {
    const plain = await servePages({ folders: { '/': folder }, isolated: false });
    const { page, complaints, close } = await openTestPage(browser, `${plain.url}/`);
    const errors = await page.evaluate(async () => {
      const { connect, open, SharedMap, SharedTree } = sabtree;
      const handle = { sabtree: 'tree', layout: 3, memory: undefined, key: 'u32', value: 'f64' } as never;
      const calls: (() => unknown)[] = [
        () => SharedTree.create({ key: 'u32', value: 'f64' }),
        () => SharedMap.create({ key: 'string', value: 'json' }),
        () => SharedTree.attach(handle),
        () => open({ key: 'u32', value: 'f64' }),
        () => open({ key: 'u32', value: 'f64', model: 'direct' }),
        () => connect({ sabtree: 'store', layout: 3 } as never),
      ];
      const errors = [];
      for (const call of calls) {
        try {
          await call();
          errors.push({});
        } catch (error) {
          const { name, code, message, value } = error as Record<string, unknown>;
          errors.push({ typed: error instanceof sabtree.SabtreeError, name, code, message, value });
        }
      }
      return errors;
    });
    expect(errors.length).toBe(6);
    for (const error of errors) {
      expect(error).toMatchObject({ typed: true, name: 'SabtreeError', code: 'ERR_NOT_ISOLATED' });
      expect(error.message).toContain('Cross-Origin-Opener-Policy: same-origin');
      expect(error.message).toContain('Cross-Origin-Embedder-Policy: require-corp');
      expect(error.value).toEqual({ crossOriginIsolated: false, isSecureContext: true });
    }
    expect(complaints).toEqual([]);
    await close();
    await plain.close();
  });

  it('becomes one with credentialless too', async () => {
    const headers = { 'Cross-Origin-Embedder-Policy': 'credentialless' };
    const other = await servePages({ folders: { '/': folder }, headers });
    const { page, close } = await openTestPage(browser, `${other.url}/`);
    expect(await writeAndRead(page)).toBe(2);
    await close();
    await other.close();
  });
});

describe('a page with a Content-Security-Policy', () => {
  const policy = (workers: string) => ({
    'Content-Security-Policy': `default-src 'self'; img-src data:; script-src 'self' 'wasm-unsafe-eval'; worker-src ${workers}`,
  });

  it('needs worker-src blob: and wasm-unsafe-eval, no more', async () => {
    const strict = await servePages({ folders: { '/': folder }, headers: policy("'self' blob:") });
    const { page, complaints, close } = await openPage(browser, `${strict.url}/`);
    expect(await writeAndRead(page)).toBe(2);
    expect(complaints).toEqual([]);
    await close();
    await strict.close();
  });

  it('is told so where it does not allow them', async () => {
    const strict = await servePages({ folders: { '/': folder }, headers: policy("'self'") });
    const { page, close } = await openPage(browser, `${strict.url}/`);
    expect(await refusal(page)).toMatch(/^ERR_UNSUPPORTED .*worker-src blob:/);
    await close();
    await strict.close();
  });

  it('is told so where it does not allow WebAssembly, and so is a browser that has none', async () => {
    const headers = { 'Content-Security-Policy': "default-src 'self'; img-src data:; worker-src 'self' blob:" };
    const strict = await servePages({ folders: { '/': folder }, headers });
    const { page, complaints, close } = await openPage(browser, `${strict.url}/`);
    expect(await refusal(page)).toMatch(/^ERR_UNSUPPORTED .*'wasm-unsafe-eval'/);
    const tree = await page.evaluate(() => {
      try {
        sabtree.SharedTree.create({ key: 'u32', value: 'f64', memory: '16MB' });
      } catch (error) {
        return (error as { code?: string }).code;
      }
    });
    expect(tree).toBe('ERR_UNSUPPORTED');
    await page.evaluate(() => Reflect.deleteProperty(globalThis, 'WebAssembly'));
    expect(await refusal(page)).toMatch(/^ERR_UNSUPPORTED .*WebAssembly is not defined/);
    expect(complaints).toEqual([]);
    await close();
    await strict.close();
  });

  it('may demand Trusted Types, if it allows the policy sabtree', async () => {
    const demands = (names: string) => {
      const [[name, value]] = Object.entries(policy('blob:'));
      return { [name]: `${value}; require-trusted-types-for 'script'; trusted-types ${names}` };
    };
    const strict = await servePages({ folders: { '/': folder }, headers: demands('sabtree') });
    const { page, complaints, close } = await openPage(browser, `${strict.url}/`);
    expect(await writeAndRead(page)).toBe(2);
    expect(complaints).toEqual([]);
    await close();
    await strict.close();
    const stricter = await servePages({ folders: { '/': folder }, headers: demands("'none'") });
    const other = await openPage(browser, `${stricter.url}/`);
    expect(await refusal(other.page)).toMatch(/^ERR_UNSUPPORTED .*trusted-types has to allow the policy sabtree/);
    await other.close();
    await stricter.close();
  });
});

describe('a page without Web Locks', () => {
  it('is told so at once where the browser has none', async () => {
    const { page, complaints, close } = await openTestPage(browser, `${server.url}/`, async (context) => {
      await context.addInitScript(() => {
        Object.defineProperty(Navigator.prototype, 'locks', { value: undefined });
      });
    });
    expect(await refusal(page)).toMatch(/^ERR_UNSUPPORTED .*Web Locks/);
    expect(complaints).toEqual([]);
    await close();
  });

  it('is told so at once where they are denied, as in a frame of an origin of its own', async () => {
    const frame = '<iframe sandbox="allow-scripts" allow="cross-origin-isolated" src="/inner.html"></iframe>';
    const files = {
      '/index.html': `<!doctype html><link rel="icon" href="data:,">${frame}`,
      '/inner.html': '<!doctype html><script type="module" src="/main.js"></script>',
    };
    const headers = { 'Access-Control-Allow-Origin': '*', 'Cross-Origin-Resource-Policy': 'cross-origin' };
    const other = await servePages({ folders: { '/': folder }, files, headers });
    const { page, complaints, close } = await openPage(browser, `${other.url}/`);
    const inner = page.frames()[1];
    await inner.waitForFunction(() => globalThis.sabtree !== undefined);
    expect(await inner.evaluate(() => [crossOriginIsolated, self.origin])).toEqual([true, 'null']);
    expect(await refusal(inner)).toMatch(/^ERR_UNSUPPORTED .*Web Locks/);
    // Trees need none.
    expect(await inner.evaluate(() => sabtree.SharedTree.create({ key: 'u32', value: 'f64' }).put(1, 2))).toBe(true);
    expect(complaints).toEqual([]);
    await close();
    await other.close();
  });
});
