/** The supervisor's thread: entry file. comlink carries calls; events go to the owner as plain messages. */
import { expose } from 'comlink';
import { ownEndpoint, tellParent } from '#platform';
import { SabtreeError } from '../engine/errors.ts';
import type { Failure } from './executor-worker.ts';
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
    } catch (error) {
      return {
        code: error instanceof SabtreeError ? error.code : 'ERR_REPLICAS_LOST',
        message: error instanceof Error ? error.message : String(error),
      };
    }
    if (run) supervisor.run();
    return undefined;
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
  reap(client: number): void {
    supervisor?.reap(client);
  },
};

export type SupervisorControl = typeof control;

expose(control, ownEndpoint());
