/**
 * The entry files of threads that tests start, each with all it imports in one file. Loading a thread's eighty modules one by
 * one takes three times as long as all else that a thread needs to begin, and the tests start thousands of threads.
 * test-threads-preload.cjs puts them in the place of the files they are made of. Processes that tests start (the command
 * line's, the package's) load the modules as they are shipped, but for those in which bugs are planted.
 */
import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './steps.mjs';

/** In a checkout, or a copy of what was built there: the entry files of the store's threads, and of the tests'. */
function entries(root) {
  const threads = ['executor-worker', 'supervisor-worker', 'durable/log-worker', 'durable/snapshot-worker'];
  const support = join(root, 'spec/support');
  const tests = existsSync(support) ? readdirSync(support).filter((name) => name.endsWith('-thread.mjs')) : [];
  return [...threads.map((name) => `dist/workers/${name}.js`), ...tests.map((name) => `spec/support/${name}`)];
}

/** Writes the files, below dist/.threads with the paths of those they stand for. dist/ is up to date. */
export async function bundleThreads(checkout = ROOT) {
  // esbuild names what it makes after what it reads, and Node.js threads after where they really are.
  const root = realpathSync(checkout);
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: entries(root),
    outbase: root,
    outdir: join(root, 'dist/.threads'),
    outExtension: { '.js': '.mjs' },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    logLevel: 'warning',
    // Of the files that have one inside only this one uses it: to find the entry files beside it.
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(join(root, 'dist/workers/platform-node.js')).href) },
  });
  for (const { path, contents } of outputFiles) {
    // Whole or not at all: somebody else may be testing in the same checkout.
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(`${path}.${process.pid}`, contents);
    renameSync(`${path}.${process.pid}`, path);
  }
}
