/** The package in a real Firefox: another engine, and in its older versions one without Atomics.waitAsync. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modelNames } from '../../dist/index.js';
import { buildTestPage } from '../support/browser-builds.ts';
import { FIREFOX, FIREFOX_LIMIT, Firefox } from '../support/firefox.ts';
import { prepare } from '../support/in-page.ts';
import { type PageServer, servePages } from '../support/page-server.ts';

let folder = '';
let firefox: Firefox;
let server: PageServer;

describe.skipIf(process.env[FIREFOX] === 'none')('Firefox', () => {
  beforeAll(async () => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'sabtree-page-')));
    await buildTestPage(folder);
    server = await servePages({ folders: { '/': folder } });
    firefox = await Firefox.launch();
  }, FIREFOX_LIMIT);

  afterAll(async () => {
    await firefox?.close();
    await server?.close();
    if (folder !== '') rmSync(folder, { recursive: true, force: true });
  });

  /** Opens the test page anew. */
  async function goto(url = server.url): Promise<void> {
    await firefox.goto(`${url}/`);
    await firefox.evaluate(prepare);
    await firefox.evaluate(() => until(() => globalThis.sabtree !== undefined).then(() => undefined));
  }

  /** Every thread of a store gives up the lock that says it lives; those that wait for others do so after a second. */
  async function expectNoThreads(): Promise<void> {
    await firefox.evaluate(() => until(async () => ((await navigator.locks.query()).held ?? []).length === 0));
  }

  it('opens a store of every model', async () => {
    await goto();
    const results = await firefox.evaluate(async (models) => {
      const results = [];
      for (const model of models) {
        const store = await sabtree.open({ key: 'u32', value: 'f64', model, executors: 2, memory: '16MB' });
        await Promise.all(Array.from({ length: 300 }, (_, key) => store.put(key, key / 2)));
        await store.delete(7);
        const entries = await store.range({ gte: 5, lt: 10 });
        const direct = [store.tree.get(299), store.tree.get(7) === undefined, store.tree.size];
        const digests = new Set((await store.digests()).map(({ digest }) => digest)).size;
        await store.close();
        results.push({ model, isolated: crossOriginIsolated, entries, direct, digests });
      }
      return results;
    }, modelNames);
    expect(results.map(({ model }) => model)).toEqual(modelNames);
    const entries = [5, 6, 8, 9].map((key) => [key, key / 2]);
    for (const result of results) {
      expect(result).toMatchObject({ isolated: true, entries, direct: [149.5, true, 299], digests: 1 });
    }
    await expectNoThreads();
  });

  it('loses nothing when the home replica is killed, and has it back', async () => {
    await goto();
    const result = await firefox.evaluate(async () => {
      const store = await sabtree.open({ key: 'u32', value: 'u32', executors: 2, replicas: 2, memory: '16MB' });
      const events: string[] = [];
      store.onEvent(({ type }) => events.push(type));
      let next = 0;
      let writing = true;
      const write = (async () => {
        for (; writing; next++) await store.put(next, next + 1);
      })();
      await until(() => next > 50);
      await store.kill(store.status().home);
      await until(() => events.includes('rebuilt'));
      const before = next;
      await until(() => next > before + 50);
      writing = false;
      await write;
      let lost = 0;
      for (let key = 0; key < next; key++) if (store.tree.get(key) !== key + 1) lost++;
      const { failovers } = store.status();
      const digests = (await store.digests()).map(({ digest }) => String(digest));
      await store.close();
      return { lost, failovers, digests, events };
    });
    expect(result).toMatchObject({ lost: 0, failovers: 1 });
    expect(result.digests.length).toBe(2);
    expect(new Set(result.digests).size).toBe(1);
    await expectNoThreads();
  });

  it('has workers that attach, block, watch, and may be ended', async () => {
    await goto();
    const result = await firefox.evaluate(async () => {
      const store = await sabtree.open({ key: 'u32', value: 'f64', executors: 1, memory: '16MB' });
      const tree = sabtree.SharedTree.create({ key: 'u32', value: 'f64', memory: '16MB' });
      const worker = startWorker();
      await ask(worker, 'fill', { handle: tree.handle, from: 0, to: 1000 });
      await ask(worker, 'connect', { handle: store.handle });
      await ask(worker, 'watch');
      const used = (await ask(worker, 'use', { key: 10 })) as unknown[];
      const heard = await until(async () => {
        const heard = (await ask(worker, 'heard')) as unknown[];
        return heard.length === 2 ? heard : undefined;
      });
      let code: unknown;
      try {
        store.putSync(1, 1);
      } catch (error) {
        code = (error as { code: string }).code;
      }
      worker.terminate();
      await until(() => store.status().clientsLost === 1);
      await store.close();
      return { size: tree.size, used: used.slice(0, 3), heard, code };
    });
    const heard = [
      ['put', 10],
      ['put', 11],
    ];
    expect(result).toEqual({ size: 1000, used: [true, 10.5, 11.5], heard, code: 'ERR_WOULD_BLOCK' });
    await expectNoThreads();
  });

  it('says which headers a page lacks', async () => {
    const plain = await servePages({ folders: { '/': folder }, isolated: false });
    await goto(plain.url);
    const error = await firefox.evaluate(() =>
      sabtree.open({ key: 'u32', value: 'f64' }).then(
        () => '',
        ({ code, message }) => `${code} ${message}`,
      ),
    );
    expect(error).toMatch(/^ERR_NOT_ISOLATED .*Cross-Origin-Opener-Policy: same-origin/);
    await plain.close();
  });
});
