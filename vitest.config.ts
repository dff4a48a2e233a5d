import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['spec/**/*.spec.ts'],
    globalSetup: ['.ci/global-setup.mjs'],
    pool: 'forks',
    maxWorkers: 2,
    // Threads start from one file each.
    execArgv: ['--require', fileURLToPath(new URL('./.ci/test-threads-preload.cjs', import.meta.url))],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default', './.ci/tally-reporter.mjs'],
    // What is built is run by Node.js as it stands, in the tests as in the threads they start.
    server: { deps: { external: [/\/dist\//] } },
  },
});
