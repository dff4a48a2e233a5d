/** The package as users bring it into a page: installed from its tarball, then built by a bundler that was told nothing, or not at all. */
import { cpSync, mkdirSync } from 'node:fs';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import { rolldown } from 'rolldown';
import * as vite from 'vite';
import { folders, makeProject, manifest, npm, pack, ROOT } from './package.ts';
import { ISOLATION } from './page-server.ts';

/** What the test's page imports, by hand: what bundlers read out of package.json. */
export const IMPORT_MAP = {
  imports: {
    sabtree: '/node_modules/sabtree/dist/index.js',
    '#platform': '/node_modules/sabtree/dist/workers/platform-browser.js',
    comlink: '/node_modules/comlink/dist/esm/comlink.mjs',
    'typed-binary': '/node_modules/typed-binary/dist/index.js',
    '@msgpack/msgpack': '/node_modules/@msgpack/msgpack/dist.esm/index.mjs',
  },
};

/** What users of plain bundlers do: page and worker are an entry each, side by side. */
const ENTRIES = ['main.js', 'worker.js'];

/** Makes a project with the test's page and the package as npm would install it. @returns its folder */
export async function makePageProject(folder: string): Promise<string> {
  const project = join(folder, 'project');
  const { tarball } = await pack(folder);
  makeProject(project, { sabtree: `file:${tarball}`, ...folders(Object.keys(manifest().dependencies ?? {})) });
  await npm(['install', '--offline', '--ignore-scripts', '--install-links'], project);
  for (const file of ['index.html', 'main.js', 'worker.js']) {
    cpSync(join(ROOT, 'spec/browser/page', file), join(project, file));
  }
  return project;
}

/** The test's page on what is built here: quicker than installing it, for tests of what it does. @returns the folder to be served */
export async function buildTestPage(outdir: string): Promise<string> {
  const page = join(ROOT, 'spec/browser/page');
  const entryPoints = ENTRIES.map((entry) => join(page, entry));
  const alias = { sabtree: join(ROOT, 'dist/index.js') };
  await esbuild.build({ entryPoints, alias, bundle: true, format: 'esm', outdir, logLevel: 'error' });
  cpSync(join(page, 'index.html'), join(outdir, 'index.html'));
  return outdir;
}

/** A module that imports `sabtree`, with what is built here in it. */
export async function bundleModule(contents: string, outfile: string): Promise<void> {
  const alias = { sabtree: join(ROOT, 'dist/index.js') };
  const stdin = { contents, resolveDir: ROOT };
  await esbuild.build({ stdin, alias, bundle: true, format: 'esm', outfile, logLevel: 'error' });
}

/** `vite build`, without any configuration. @returns the folder to be served */
export async function buildWithVite(project: string): Promise<string> {
  const outDir = join(project, 'built-vite');
  await vite.build({ root: project, configFile: false, logLevel: 'error', build: { outDir } });
  return outDir;
}

/** `vite`, the development server, told only to send the headers. */
export async function serveWithVite(project: string): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = await vite.createServer({
    ...{ root: project, configFile: false, logLevel: 'error' },
    server: { host: '127.0.0.1', port: 0, headers: ISOLATION, watch: null },
  });
  await server.listen();
  const { port } = (server.httpServer as Server).address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

/** `esbuild main.js worker.js --bundle --format=esm --outdir=...` */
export async function buildWithEsbuild(project: string): Promise<string> {
  const outdir = join(project, 'built-esbuild');
  const entryPoints = ENTRIES.map((entry) => join(project, entry));
  await esbuild.build({ entryPoints, bundle: true, format: 'esm', outdir, logLevel: 'error' });
  cpSync(join(project, 'index.html'), join(outdir, 'index.html'));
  return outdir;
}

/** `rolldown`, for browsers. */
export async function buildWithRolldown(project: string): Promise<string> {
  const dir = join(project, 'built-rolldown');
  mkdirSync(dir, { recursive: true });
  const input = Object.fromEntries(ENTRIES.map((entry) => [entry.replace('.js', ''), join(project, entry)]));
  const made = await rolldown({ input, platform: 'browser', logLevel: 'silent' });
  await made.write({ dir, format: 'esm', minify: true, entryFileNames: '[name].js' });
  await made.close();
  cpSync(join(project, 'index.html'), join(dir, 'index.html'));
  return dir;
}
