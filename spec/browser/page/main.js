/** A page that has the package, and a worker of its own that has it too; the tests do the rest. */
import * as sabtree from 'sabtree';

globalThis.sabtree = sabtree;
globalThis.startWorker = (name) => new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name });
