import diagnostics from 'node:diagnostics_channel';
import { chmodSync, existsSync, lstatSync, readlinkSync, unlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { Script } from 'node:vm';
import { parentPort, Worker } from 'node:worker_threads';
import type { Endpoint } from 'comlink';
// @ts-expect-error: comlink ships this adapter without types
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import type { ChildThread } from './platform.ts';

/** Starts an executor's thread. It does not keep the process alive by itself. */
export function startExecutorThread(name: string): ChildThread {
  return child(new Worker(new URL('./executor-worker.js', import.meta.url), { name, stdout: false, stderr: false }));
}

/** Starts a log's thread. */
export function startLogThread(name: string): ChildThread {
  return child(new Worker(new URL('./durable/log-worker.js', import.meta.url), { name, stdout: false, stderr: false }));
}

/** Starts a thread that copies a replica into a snapshot. */
export function startSnapshotThread(name: string): ChildThread {
  return child(
    new Worker(new URL('./durable/snapshot-worker.js', import.meta.url), { name, stdout: false, stderr: false }),
  );
}

/** Starts a supervisor's thread. */
export function startSupervisorThread(name: string): ChildThread {
  return child(new Worker(new URL('./supervisor-worker.js', import.meta.url), { name, stdout: false, stderr: false }));
}

function child(worker: Worker): ChildThread {
  worker.unref();
  let failure: unknown;
  // An 'error' without a listener would end the process; the thread's 'exit' follows it.
  worker.on('error', (error) => {
    failure = error;
  });
  return {
    endpoint: nodeEndpoint(worker) as Endpoint,
    async terminate() {
      await worker.terminate();
    },
    onEnd(listener) {
      worker.once('exit', () => listener(failure));
    },
    onMessage(listener) {
      worker.on('message', listener);
    },
  };
}

/** In an executor's thread: the other end of its channel. */
export function ownEndpoint(): Endpoint {
  if (parentPort === null) throw new Error('not in a worker thread');
  return nodeEndpoint(parentPort) as Endpoint;
}

/** Keeps the process alive until the returned function is called. */
export function keepAlive(): () => void {
  const timer = setInterval(() => {}, 0x7fffffff);
  return () => clearInterval(timer);
}

/** Logical processors. */
export { availableParallelism } from 'node:os';

const BODY = Symbol.for('sabtree.guarded');
let script: Script | undefined;

/**
 * Runs `body`, and stops it after a number of milliseconds wherever it is, endless loops included: nothing behind that place is
 * executed, no `finally` either. Costs some 100 us, for Node has a thread watch it.
 * @returns whether it came to its end. @throws what it throws
 */
export function guarded(limit: number, body: () => void): boolean {
  const globals = globalThis as unknown as Record<symbol, unknown>;
  script ??= new Script("globalThis[Symbol.for('sabtree.guarded')]()");
  globals[BODY] = body;
  try {
    script.runInThisContext({ timeout: limit });
    return true;
  } catch (error) {
    if ((error as { code?: unknown } | undefined)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return false;
    throw error;
  } finally {
    delete globals[BODY];
  }
}

/**
 * Has Node.js load what it loads on first use of a global that commands may use. One that is stopped (`guarded`) in the midst of
 * that would leave it undefined for good in this thread, and only there.
 */
export function loadGlobals(): void {
  performance.now();
  crypto.getRandomValues(new Uint8Array(1));
}

/** Files, for snapshots and the log. */
export { files } from './durable/files-node.ts';

/** Sends a message to the thread that started this one. */
export function tellParent(message: unknown): void {
  parentPort?.postMessage(message);
}

/**
 * A number by which other threads of the process can see whether this one lives; 0 where there is none. On Linux the kernel's
 * number of the thread.
 */
export function threadToken(): number {
  try {
    return Number(readlinkSync('/proc/thread-self').split('/').pop());
  } catch {
    return 0;
  }
}

/** Here `threadToken` always says what can be said. */
export function ownThread(): Promise<void> | undefined {
  return undefined;
}

/** Waits for another thread without blocking this one: Atomics.waitAsync, which every supported Node.js has. */
export function waitAsync(
  words: Int32Array,
  index: number,
  value: number,
  timeout: number,
): ReturnType<typeof Atomics.waitAsync> {
  return Atomics.waitAsync(words as Int32Array<SharedArrayBuffer>, index, value, timeout);
}

/** Whether the thread of a token still lives; always true for 0. */
export function threadLives(token: number): boolean {
  return token === 0 || existsSync(`/proc/self/task/${token}`);
}

/** The same of a store's supervisor. */
export { threadLives as supervisorLives };

/** An environment variable. */
export function environment(name: string): string | undefined {
  return process.env[name];
}

/** Warns the process. */
export function warn(message: string): void {
  process.emitWarning(message, 'SabtreeWarning');
}

/** This process, for people. */
export function processName(): { pid: number; title: string } {
  return { pid: process.pid, title: [process.argv0, ...process.argv.slice(1)].map((part) => basename(part)).join(' ') };
}

/**
 * Answers each line that comes in on a Unix domain socket with a line. Does not keep the process alive. A socket that a dead
 * process left is taken over.
 * @throws what listening throws: EADDRINUSE if somebody listens there.
 */
export async function serveLines(path: string, answer: () => string): Promise<() => Promise<void>> {
  const { connect, createServer } = await import('node:net');
  const sockets = new Set<import('node:net').Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.unref();
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (data) => {
      for (const byte of data) if (byte === 10) socket.write(`${answer()}\n`);
    });
  });
  const listen = () =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    });
  const answers = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(path, () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
  try {
    await listen();
  } catch (error) {
    if ((error as { code?: string }).code !== 'EADDRINUSE' || (await answers())) throw error;
    if (!lstatSync(path).isSocket()) throw error;
    unlinkSync(path);
    await listen();
  }
  server.unref();
  try {
    chmodSync(path, 0o600);
  } catch {
    // A named pipe has no mode.
  }
  return async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
}

/** Tells whoever subscribed to the process's diagnostics. */
export function publish(name: string, message: unknown): void {
  const channel = diagnostics.channel(name);
  if (channel.hasSubscribers) channel.publish(message);
}
