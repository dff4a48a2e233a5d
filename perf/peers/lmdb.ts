/** lmdb, for comparison. */
import { installAside, requireAside } from './aside.ts';

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

/** Installs lmdb unless it is there: a native module, with a prebuilt binary. @throws if npm cannot */
export function installLmdb(): void {
  installAside('lmdb', LMDB_VERSION);
}

/** Opens a database at a path; also in other threads, once it is installed. */
export function openLmdb(path: string, options: Record<string, unknown> = {}): LmdbStore {
  return (requireAside('lmdb') as Lmdb).open({ path, mapSize: 2 ** 30, ...options });
}
