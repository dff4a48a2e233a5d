import { defineConfig } from 'vitest/config';
import config from './vitest.config.ts';

/**
 * What has commands of its own: `npm run test:package` (the package from the registry's point of view; needs the network)
 * and `npm run test:mutations` (bugs planted in what was built have to be noticed). Minutes each.
 */
export default defineConfig({
  // Spread, not merged: merging would add to the list of tests instead of replacing it.
  test: {
    ...config.test,
    include: ['spec/**/*.network.ts', 'spec/**/*.mutations.ts'],
    testTimeout: 300_000,
    hookTimeout: 600_000,
  },
});
