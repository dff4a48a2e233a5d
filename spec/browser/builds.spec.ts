/**
 * The package in a page, by each way in which it comes there: native modules and an import map, Vite, plain esbuild, rolldown,
 * none of them configured for it. chromium.spec.ts has what the package does in a page.
 */
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  buildWithEsbuild,
  buildWithRolldown,
  buildWithVite,
  IMPORT_MAP,
  makePageProject,
  serveWithVite,
} from '../support/browser-builds.ts';
import { LAUNCH_LIMIT, launchChromium } from '../support/chromium.ts';
import { openTestPage, withoutWorkers } from '../support/in-page.ts';
import { ROOT } from '../support/package.ts';
import { type PageServerOptions, servePages } from '../support/page-server.ts';

let folder = '';
let project = '';
let browser: Browser;

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'sabtree-builds-')));
  project = await makePageProject(folder);
  browser = await launchChromium();
}, LAUNCH_LIMIT);

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A tree that a worker of the page fills, and a store with threads of its own. */
async function works(url: string, ownWorker = true): Promise<void> {
  const { page, complaints, close } = await openTestPage(browser, `${url}/`);
  const result = await page.evaluate(async (ownWorker) => {
    const { open, SharedTree } = sabtree;
    const tree = SharedTree.create({ key: 'u32', value: 'f64', memory: '16MB' });
    if (ownWorker) {
      const worker = startWorker();
      await ask(worker, 'fill', { handle: tree.handle, from: 0, to: 500 });
      worker.terminate();
    } else for (let key = 0; key < 500; key++) tree.put(key, key * 2);
    const store = await open({ key: 'u32', value: 'f64', executors: 2, replicas: 2, memory: '16MB' });
    const keys = Uint32Array.from({ length: 100 }, (_, i) => i);
    await store.putMany(keys, new Float64Array(100).fill(7));
    const direct = store.tree.get(99);
    const digests = await store.digests();
    await store.close();
    const last = tree.last();
    return {
      isolated: crossOriginIsolated,
      size: tree.size,
      last,
      direct,
      digests: digests.map(({ digest }) => String(digest)),
    };
  }, ownWorker);
  expect(result).toMatchObject({ isolated: true, size: 500, last: [499, 998], direct: 7 });
  expect(new Set(result.digests).size).toBe(1);
  expect(result.digests.length).toBe(2);
  await withoutWorkers(page);
  expect(complaints).toEqual([]);
  await close();
}

/** The same with files that are only served. */
async function worksServed(options: PageServerOptions, ownWorker?: boolean): Promise<void> {
  const server = await servePages(options);
  try {
    await works(server.url, ownWorker);
    expect(server.missing).toEqual([]);
  } finally {
    await server.close();
  }
}

/** What scripts, those of threads in strings too, say where they name a module of Node.js. */
function builtIns(text: string): string[] {
  const found = [...text.matchAll(/\\?["'`]((?:node:)?([a-z_]+)(?:\/[a-z]+)?)\\?["'`]/g)];
  return found.flatMap(([, name, base]) =>
    name.startsWith('node:') || /^(worker_threads|child_process|diagnostics_channel)$/.test(base) ? name : [],
  );
}

/** The scripts that a bundler made bring no built-in of Node.js along, in threads neither. */
function refuseBuiltIns(built: string): void {
  const scripts = readdirSync(built, { recursive: true, encoding: 'utf8' }).filter((name) => /\.m?js$/.test(name));
  const texts = scripts.map((name) => readFileSync(join(built, name), 'utf8'));
  // The package is there, and the script of its threads.
  expect(texts.some((text) => text.includes('ERR_NOT_ISOLATED') && text.includes('sabtreeCore'))).toBe(true);
  expect(texts.flatMap(builtIns)).toEqual([]);
  // The same look finds them where they are.
  const node = readFileSync(join(ROOT, 'dist/workers/platform-node.js'), 'utf8');
  expect(builtIns(node)).toContain('node:worker_threads');
}

it('as native modules, with an import map', async () => {
  const map = `<script type="importmap">${JSON.stringify(IMPORT_MAP)}</script>`;
  const html = readFileSync(join(project, 'index.html'), 'utf8').replace('<script', `${map}\n<script`);
  // Import maps are for pages: a worker with imports of its own has to be bundled.
  await worksServed({ folders: { '/': project }, files: { '/index.html': html } }, false);
});

it.each([
  ['Vite', buildWithVite],
  ['esbuild', buildWithEsbuild],
  ['rolldown', buildWithRolldown],
])('built by %s', async (_, build) => {
  const built = await build(project);
  refuseBuiltIns(built);
  await worksServed({ folders: { '/': built } });
});

it("served by Vite's development server", async () => {
  const server = await serveWithVite(project);
  try {
    await works(server.url);
  } finally {
    await server.close();
  }
});
