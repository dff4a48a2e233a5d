/**
 * How `sabtree top` sees a store of another process: a Unix domain socket, on which every line that comes in is answered with
 * one line of JSON.
 */
import { environment, processName, serveLines, warn } from '#platform';
import { SabtreeError, show } from '../engine/errors.ts';
import type { StoreStats, StoreStatus } from './store.ts';

/** One answer. */
export interface StatsReport {
  /** What it is. */
  readonly sabtree: 'stats';
  /** Number of the process. */
  readonly pid: number;
  /** The process's command line, without folders. */
  readonly title: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** What `Store.status` gives. */
  readonly status: StoreStatus;
  /** What `Store.stats` gives. */
  readonly stats: StoreStats;
}

/** Serves a store's stats; see `Store.serveStats`. */
export interface StatsServer {
  /** Where it listens. */
  readonly path: string;
  /** Ends it, and those who look. */
  close(): Promise<void>;
}

type Look = () => Pick<StatsReport, 'status' | 'stats'>;

/** @throws ERR_ARGUMENT if nothing can listen there */
export async function serveStats(path: string, look: Look): Promise<StatsServer> {
  const name = processName();
  const answer = () => {
    try {
      return JSON.stringify({ sabtree: 'stats', ...name, at: Date.now(), ...look() } satisfies StatsReport);
    } catch (error) {
      // The store failed or is being closed, and there is no home replica to look at.
      return JSON.stringify({ sabtree: 'error', message: String(error) });
    }
  };
  let end: () => Promise<void>;
  try {
    end = await serveLines(path, answer);
  } catch (cause) {
    throw new SabtreeError('ERR_ARGUMENT', `cannot serve at ${show(path)}: ${(cause as Error).message}`, path, {
      cause,
    });
  }
  let ended: Promise<void> | undefined;
  return {
    path,
    close() {
      ended ??= end();
      return ended;
    },
  };
}

/** Serves a store that was just opened where the environment says; the second one of a process at `path-2`, and so on. */
export async function serveOpened(store: { serveStats(path: string): Promise<StatsServer> }): Promise<void> {
  const path = environment('SABTREE_TOP');
  if (path === undefined || path === '') return;
  let failure: unknown;
  for (let n = 1; n <= 9; n++) {
    try {
      await store.serveStats(n === 1 ? path : `${path}-${n}`);
      return;
    } catch (error) {
      failure = error;
    }
  }
  warn(`SABTREE_TOP: ${(failure as Error).message}`);
}
