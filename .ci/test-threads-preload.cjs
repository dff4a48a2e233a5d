/** Loaded before all else in the processes that run tests, and in their threads: see test-threads.mjs. */
const { existsSync } = require('node:fs');
const { syncBuiltinESMExports } = require('node:module');
const { join, relative } = require('node:path');
const { fileURLToPath } = require('node:url');
const threads = require('node:worker_threads');

const ROOT = join(__dirname, '..');
const { Worker } = threads;

threads.Worker = class extends Worker {
  constructor(file, options) {
    super(bundleOf(file) ?? file, options);
  }
};
syncBuiltinESMExports();

function bundleOf(file) {
  if (!(file instanceof URL) || file.protocol !== 'file:') return undefined;
  const path = relative(ROOT, fileURLToPath(file));
  const bundle = join(ROOT, 'dist/.threads', path.replace(/\.m?js$/, '.mjs'));
  return existsSync(bundle) ? bundle : undefined;
}
