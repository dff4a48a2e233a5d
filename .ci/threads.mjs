/**
 * The script of the store's threads in browsers, as a string (workers/browser/script.ts says why): workers/browser/thread.ts with all it
 * imports, in one file.
 */
import { join } from 'node:path';
import { ROOT } from './steps.mjs';

/** What stands for something else in the threads. */
const INSTEAD = [
  [/^#platform$/, 'workers/platform-browser.ts'],
  // They start others from their own script, so it does not contain itself...
  [/\/script\.ts$/, 'workers/browser/own-script.ts'],
];
/** ...nor the core, which stands before it: see script.ts. */
const CORE = 'export const CORE_BASE64 = sabtreeCore;';

const replacements = {
  name: 'what differs in the threads',
  setup(build) {
    for (const [filter, path] of INSTEAD) build.onResolve({ filter }, () => ({ path: join(ROOT, path) }));
    build.onLoad({ filter: /[\\/]core-bytes\.ts$/ }, () => ({ contents: CORE, loader: 'js' }));
  },
};

/** The source of workers/browser/thread-source.ts. */
export async function threadSource() {
  // Only now: what is needed to install it runs without it.
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: ['workers/browser/thread.ts'],
    plugins: [replacements],
    bundle: true,
    write: false,
    // Not a module: older browsers start only such scripts as workers.
    format: 'iife',
    platform: 'browser',
    target: 'es2022',
    minify: true,
    // Names stand in errors and in profiles.
    keepNames: true,
    // The dependencies are inside, and so are their notices.
    legalComments: 'eof',
    logLevel: 'warning',
  });
  const [{ text }] = outputFiles;
  return [
    '// Generated from workers/browser/thread.ts by .ci/build.mjs; do not edit.',
    '',
    '/** The script of the threads that a store has in a browser: see script.ts. */',
    `export const THREAD_SOURCE: string =\n  ${JSON.stringify(text)};`,
    '',
  ].join('\n');
}
