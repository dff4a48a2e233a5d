/** Before any test: dist/ up to date. The tests run what is built, because threads start from built files. */
import { build } from './build.mjs';
import { bundleThreads } from './test-threads.mjs';

export default async function setup() {
  await build();
  await bundleThreads();
}
