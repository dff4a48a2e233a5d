/** The test page (spec/browser/page) from the tests' side. */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { type OpenedPage, openPage } from './chromium.ts';

type Package = typeof import('../../dist/index.js');

declare global {
  /** What the page's main.js puts there. */
  var sabtree: Package;
  var startWorker: (name?: string) => Worker;
  /** Asks a worker of the page something; see page/worker.js. */
  var ask: (worker: Worker, task: string, rest?: object) => Promise<unknown>;
  /** Resolves when `done` gives something true, which it gives back; rejects after 20 s. */
  var until: <T>(done: () => T | Promise<T>) => Promise<T>;
}

/** Runs in the page before the tests. */
export function prepare(): void {
  let calls = 0;
  globalThis.ask = (worker, task, rest) => {
    const id = ++calls;
    return new Promise((resolve, reject) => {
      worker.addEventListener('error', (event) => reject(new Error(event.message)));
      worker.addEventListener('message', ({ data }) => {
        if (data.id !== id) return;
        if ('error' in data) reject(new Error(data.error));
        else resolve(data.result);
      });
      worker.postMessage({ id, task, ...rest });
    });
  };
  globalThis.until = async (done) => {
    const end = performance.now() + 20_000;
    for (;;) {
      const result = await done();
      if (result) return result;
      if (performance.now() > end) throw new Error(`not within 20 s: ${done}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
}

/** Opens the test page, and waits until it has the package. */
export async function openTestPage(
  browser: Browser,
  url: string,
  before?: (context: BrowserContext) => Promise<void>,
): Promise<OpenedPage> {
  const opened = await openPage(browser, url, async (context) => {
    await context.addInitScript(prepare);
    await before?.(context);
  });
  await opened.page.waitForFunction(() => globalThis.sabtree !== undefined);
  return opened;
}

/**
 * Resolves when no thread of a store runs any more, nor a client's: each holds a lock as long as it can run. (The browser's own
 * list of workers now and then keeps one whose scripts have ended.)
 */
export async function withoutWorkers(page: Page): Promise<void> {
  await page.evaluate(() => until(async () => ((await navigator.locks.query()).held ?? []).length === 0));
}
