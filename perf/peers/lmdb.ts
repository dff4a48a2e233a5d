/**
 * lmdb, for comparison. It is a native module, so it is no dependency of ours, not even for development: it is installed
 * aside the first time it is needed (npm with a prebuilt binary; no compiler is called).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const LMDB_VERSION = '3.5.6';

/** The little of lmdb's interface that is compared. */
export interface LmdbStore {
  get(key: string): number | undefined;
  putSync(key: string, value: number): boolean;
  transactionSync<T>(body: () => T): T;
  close(): Promise<void>;
}

interface Lmdb {
  open(options: Record<string, unknown>): LmdbStore;
}

/** Where it is installed: dist/perf/peers is three levels below the root. */
const HOME = fileURLToPath(new URL('../../../node_modules/.peers/', import.meta.url));

/** Installs lmdb unless it is there. @throws if npm cannot */
export function installLmdb(): string {
  const manifest = join(HOME, 'node_modules/lmdb/package.json');
  if (!existsSync(manifest) || JSON.parse(readFileSync(manifest, 'utf8')).version !== LMDB_VERSION) {
    process.stderr.write(`installing lmdb ${LMDB_VERSION} into ${HOME}\n`);
    mkdirSync(HOME, { recursive: true });
    writeFileSync(join(HOME, 'package.json'), '{ "private": true }');
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    execFileSync(npm, ['install', '--no-audit', '--no-fund', '--ignore-scripts', `lmdb@${LMDB_VERSION}`], {
      cwd: HOME,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  return join(HOME, 'package.json');
}

/** Opens a database at a path; also in other threads, once it is installed. */
export function openLmdb(path: string, options: Record<string, unknown> = {}): LmdbStore {
  const lmdb = createRequire(join(HOME, 'package.json'))('lmdb') as Lmdb;
  return lmdb.open({ path, mapSize: 2 ** 30, ...options });
}
