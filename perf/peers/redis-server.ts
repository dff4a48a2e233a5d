/** A Redis server of our own on loopback, and its client, for comparison. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installAside, requireAside } from './aside.ts';

export const REDIS_CLIENT = '@redis/client';
export const REDIS_CLIENT_VERSION = '6.3.1';

/** The little of the client's interface that is compared. What is asked for in one turn of the event loop travels together. */
export interface RedisClient {
  connect(): Promise<unknown>;
  destroy(): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
  get(key: string): Promise<string | null>;
  set(key: string, value: string): Promise<unknown>;
  mGet(keys: string[]): Promise<(string | null)[]>;
  mSet(pairs: string[]): Promise<unknown>;
  flushAll(): Promise<unknown>;
  info(section: string): Promise<string>;
  sendCommand(args: string[]): Promise<unknown>;
  evalSha(sha: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
  scriptLoad(script: string): Promise<string>;
}

/** A server that nobody else uses. */
export interface RedisServer {
  readonly client: RedisClient;
  readonly version: string;
  close(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

async function connected(port: number, server: ChildProcess): Promise<RedisClient> {
  const { createClient } = requireAside(REDIS_CLIENT) as { createClient(options: object): RedisClient };
  for (let tries = 0; ; tries++) {
    const client = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: false } });
    client.on('error', () => {});
    try {
      await client.connect();
      return client;
    } catch (error) {
      if (tries === 100 || server.exitCode !== null) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/**
 * Starts `redis-server` (or what SABTREE_REDIS names) on a free port of 127.0.0.1 and connects to it.
 * @param durable whether every write is on the disk before it is answered; otherwise nothing is written there.
 * @throws if there is no such program
 */
export async function startRedis(durable: boolean): Promise<RedisServer> {
  installAside(REDIS_CLIENT, REDIS_CLIENT_VERSION);
  const program = process.env.SABTREE_REDIS || 'redis-server';
  const folder = mkdtempSync(join(tmpdir(), 'sabtree-redis-'));
  const port = await freePort();
  const durability = durable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
  const flags = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', ...durability];
  const server = spawn(program, flags, { stdio: 'ignore' });
  try {
    await once(server, 'spawn');
  } catch {
    rmSync(folder, { recursive: true });
    throw new Error(
      `there is no ${program}: install it (Debian: apt-get install redis-server), or name it in SABTREE_REDIS`,
    );
  }
  const end = async () => {
    const ended = server.exitCode === null ? once(server, 'exit') : undefined;
    server.kill();
    await ended;
    rmSync(folder, { recursive: true });
  };
  try {
    const client = await connected(port, server);
    const version = /redis_version:(\S+)/.exec(await client.info('server'))?.[1] ?? 'unknown';
    return {
      client,
      version,
      async close() {
        client.destroy();
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}
