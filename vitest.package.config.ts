import { mergeConfig } from 'vitest/config';
import config from './vitest.config.ts';

/** `npm run test:package`: the package from the registry's point of view. Needs the network, and minutes. */
export default mergeConfig(config, {
  test: { include: ['spec/**/*.network.ts'], testTimeout: 300_000, hookTimeout: 600_000 },
});
