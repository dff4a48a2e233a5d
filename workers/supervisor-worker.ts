/** The supervisor's thread: entry file. comlink carries calls; events go to the owner as plain messages. */
import { expose } from 'comlink';
import { ownEndpoint, tellParent } from '#platform';
import type { Recovery } from './durable/recovery.ts';
import type { SnapshotInfo } from './durable/snapshot.ts';
import { type Failure, failureOf } from './failure.ts';
import { type StoreEvent, Supervisor, type SupervisorConfig } from './supervisor.ts';

/** How an event comes to the store's owner. */
export interface EventMessage {
  readonly sabtree: 'event';
  readonly event: StoreEvent;
}

let supervisor: Supervisor | undefined;

/** What the store's owner asks of its supervisor. */
const control = {
  /** Starts the replicas' threads, and lets them run if `run` is set. @returns undefined, or why they did not start */
  async start(config: SupervisorConfig, run: boolean): Promise<Failure | undefined> {
    supervisor = new Supervisor(config, (event) => tellParent({ sabtree: 'event', event } satisfies EventMessage));
    try {
      await supervisor.prepare();
      if (run) {
        supervisor.run();
        await supervisor.secure();
      }
      return undefined;
    } catch (error) {
      return failureOf(error);
    }
  },
  run(): void {
    supervisor?.run();
  },
  stop(): Promise<void> | undefined {
    return supervisor?.stop();
  },
  kill(replica: number, thread?: number): Promise<void> | undefined {
    return supervisor?.kill(replica, thread);
  },
  clientExited(client: number): void {
    supervisor?.clientExited(client);
  },
  /** What was found when the log was opened. */
  recovered(): Pick<Recovery, 'replayed' | 'torn'> | undefined {
    return supervisor?.recovered;
  },
  snapshot(path: string): Promise<SnapshotInfo | Failure> {
    return answer((keeper) => keeper.snapshot(path));
  },
  replaceLog(): Promise<SnapshotInfo | Failure> {
    return answer((keeper) => keeper.replaceLog());
  },
  /** A snapshot that the caller writes: `snapshotNext` until it gives undefined, then `snapshotEnd`. */
  snapshotBegin(): Promise<{ readonly id: number; readonly info: SnapshotInfo } | Failure> {
    return answer((keeper) => keeper.begin());
  },
  snapshotNext(id: number): Promise<Uint8Array | Failure | undefined> {
    return answer((keeper) => keeper.next(id));
  },
  async snapshotEnd(id: number): Promise<void> {
    await supervisor?.keeper.release(id);
  },
};

/** What the keeper answers; errors cross as failures. */
async function answer<T>(ask: (keeper: Supervisor['keeper']) => Promise<T>): Promise<T | Failure> {
  try {
    if (supervisor === undefined) throw new Error('called before start');
    return await ask(supervisor.keeper);
  } catch (error) {
    return failureOf(error);
  }
}

export type SupervisorControl = typeof control;

expose(control, ownEndpoint());
