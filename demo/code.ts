/** The store of the page as one would write it. */
import type { Setup } from './session.ts';

/** Lines of TypeScript that open such a store and use it. */
export function codeOf({ model, executors, replicas }: Setup): string {
  const alone = ['direct', 'smr', 'pipelined'].includes(model);
  const options = [
    `model: '${model}'`,
    ...(alone ? [] : [`executors: ${executors}`]),
    ...(model === 'direct' ? [] : [`replicas: ${replicas}`]),
  ];
  return `import { open } from 'sabtree'

const store = await open({        // this page's store: \`store\` in the console
  key: 'u32', value: 'f64', ${options.join(', ')},
})
await store.put(7, 2.5)           // ${model === 'direct' ? 'written under a latch' : 'ordered, then executed in every replica'}
store.tree.get(7)                 // 2.5: read out of shared memory, at once
worker.postMessage(store.handle)  // there: await connect(handle)`;
}
