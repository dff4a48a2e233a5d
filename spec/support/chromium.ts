/** A real Chromium (or Chrome, or Edge) for tests: found, or installed where that can be done, or a clear error; never a skip. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { ensureProgram, findProgram } from './programs.ts';

/** Environment variable that says which browser the tests use. */
export const VARIABLE = 'SABTREE_CHROMIUM';
/** Milliseconds a hook has to allow for `launchChromium`, which may have to install one. */
export const LAUNCH_LIMIT = 600_000;

/** Programs by these names are looked for in PATH. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome', 'chrome', 'microsoft-edge'];

/** Where installers put them. */
function usualPlaces(): string[] {
  const { env, platform } = process;
  if (platform === 'darwin') {
    const apps = ['Google Chrome', 'Chromium', 'Microsoft Edge'].map((app) => `${app}.app/Contents/MacOS/${app}`);
    return ['/Applications', join(homedir(), 'Applications')].flatMap((folder) => apps.map((app) => join(folder, app)));
  }
  if (platform === 'win32') {
    const folders = [env.ProgramFiles, env['ProgramFiles(x86)'], env.LOCALAPPDATA].filter(
      (folder) => folder !== undefined,
    );
    const apps = [
      ['Google', 'Chrome', 'Application', 'chrome.exe'],
      ['Chromium', 'Application', 'chrome.exe'],
      ['Microsoft', 'Edge', 'Application', 'msedge.exe'],
    ];
    return folders.flatMap((folder) => apps.map((app) => join(folder, ...app)));
  }
  return ['/usr/bin', '/usr/local/bin', '/snap/bin', '/opt/google/chrome'].flatMap((folder) =>
    NAMES.map((name) => join(folder, name)),
  );
}

/** The browser that the environment names or that is installed. @throws if the one that is named is not there */
export function findChromium(): string | undefined {
  return findProgram(VARIABLE, NAMES, usualPlaces());
}

/** The path of a browser, which is installed if need be. @throws an error that says what to do */
export function ensureChromium(): string {
  const advice = `Chromium, Chrome or Edge, and none was found or could be installed: install one, or let the environment variable ${VARIABLE} name its program`;
  return ensureProgram(findChromium, 'chromium', LAUNCH_LIMIT, advice);
}

/** Starts a browser without a window. Close it when done; a hook that calls this has to allow `LAUNCH_LIMIT`. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: ensureChromium(),
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** A page that remembers what went wrong in it. */
export interface OpenedPage {
  readonly page: Page;
  /** Errors and warnings on the console, of the page and its workers; errors nobody caught; requests that failed. */
  readonly complaints: string[];
  /** Closes the page and what belongs to it. */
  close(): Promise<void>;
}

/** Opens a URL in a context of its own. Resolves when the page has loaded. */
export async function openPage(
  browser: Browser,
  url: string,
  prepare?: (context: BrowserContext) => Promise<void>,
): Promise<OpenedPage> {
  const context = await browser.newContext();
  await prepare?.(context);
  const complaints: string[] = [];
  context.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning')
      complaints.push(`${message.type()}: ${message.text()}`);
  });
  context.on('weberror', (error) => complaints.push(`uncaught: ${error.error()}`));
  context.on('requestfailed', (request) => complaints.push(`request failed: ${request.url()}`));
  const page = await context.newPage();
  await page.goto(url);
  return { page, complaints, close: () => context.close() };
}
