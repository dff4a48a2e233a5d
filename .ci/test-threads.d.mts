/** @see test-threads.mjs */
export function bundleThreads(checkout?: string): Promise<void>;
