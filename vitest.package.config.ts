import { defineConfig } from 'vitest/config';
import config from './vitest.config.ts';

/** `npm run test:package`: the package from the registry's point of view. Needs the network, and minutes. */
export default defineConfig({
  // Spread, not merged: merging would add to the list of tests instead of replacing it.
  test: { ...config.test, include: ['spec/**/*.network.ts'], testTimeout: 300_000, hookTimeout: 600_000 },
});
