/**
 * What the simulation knows of a machine: times in nanoseconds, all measured in the same run as the simulation, and how
 * each was measured. A few can be had only from a run with two executors or of a whole model: these are *fitted*, so
 * that the simulation meets that one measurement, and only other measurements can check them.
 */

/** Nanoseconds, but for `cores`. */
export interface Calibration {
  // Commands, in long runs of one executor alone.
  readonly read: number;
  readonly update: number;
  readonly insert: number;
  readonly delete: number;
  readonly call: number;
  // direct: a call for each command.
  readonly directRead: number;
  readonly directUpdate: number;
  // More than one thread.
  readonly cores: number;
  readonly transfer: number;
  readonly line: number;
  readonly look: number;
  readonly notify: number;
  readonly wake: number;
  // Sync points.
  readonly sync: number;
  readonly member: number;
  // opt-psmr.
  readonly refuse: number;
  readonly deferralLook: number;
  readonly deferred: number;
  readonly retry: number;
  // pipelined.
  readonly receive: number;
  readonly handover: number;
  readonly append: number;
  // sdpe.
  readonly set: number;
  readonly pairwiseSet: number;
  readonly compareRead: number;
  readonly compareWrite: number;
  readonly dispatch: number;
  readonly lane: number;
  readonly choose: number;
  // execute-verify.
  readonly undo: number;
  readonly mix: number;
}

export type ParameterName = keyof Calibration;

/** How a parameter comes about. */
interface Origin {
  readonly meaning: string;
  readonly how: string;
  /** Where it was fitted, as model@executors workload; absent for what was measured by itself. */
  readonly fitted?: string;
  readonly unit?: string;
}

const SERVICE = 'drain of smr, 1 executor, only such commands';
const BESIDE = 'drain of updates, and both kinds in one thread';
const LONE = "one thread, the executor's own classes";
const PARTNER = 'two threads in turn';

export const ORIGINS: Readonly<Record<ParameterName, Origin>> = {
  read: { meaning: 'a get, in a long run', how: SERVICE },
  update: { meaning: 'an update, in a long run', how: SERVICE },
  insert: { meaning: 'an insert, in a long run', how: BESIDE },
  delete: { meaning: 'a delete, in a long run', how: BESIDE },
  call: {
    meaning: 'more for a run of its own: a call of the core, no overlapped lookups, replies',
    how: `${LONE}, runs of 4 beside long ones`,
  },
  directRead: { meaning: 'a get, by a client itself', how: 'direct, 1 thread, only such commands' },
  directUpdate: { meaning: 'an update, by a client itself', how: 'direct, 1 thread, only such commands' },
  cores: {
    meaning: 'service with another core busy, as a multiple',
    how: 'two independent smr stores drained together, beside one alone',
    unit: 'x',
  },
  transfer: { meaning: 'a store on one core until another sees it', how: `${PARTNER}: half a round trip` },
  line: {
    meaning: 'more for a command whose leaf another core touched last',
    how: 'fitted',
    fitted: 'keyed@2 updates',
  },
  look: { meaning: 'one look of a thread that waits', how: `${LONE}: Signals.until` },
  notify: { meaning: 'waking a sleeping thread, for the one who wakes', how: `${PARTNER}: Signals.wake` },
  wake: { meaning: 'waking a sleeping thread, until it runs', how: `${PARTNER}: Signals.wake` },
  sync: {
    meaning: 'a sync point of two executors, without what is executed there',
    how: 'fitted',
    fitted: 'psmr@2 inserts+deletes',
  },
  member: {
    meaning: 'more at a sync point for each further executor',
    how: `${LONE}: Barrier.gather and release, and two transfers`,
  },
  refuse: { meaning: 'an insert that is refused and deferred', how: `${LONE}: full leaves` },
  deferralLook: {
    meaning: 'more for a command while something is deferred',
    how: `${LONE}: updates with and without deferred inserts`,
  },
  deferred: { meaning: 'a deferred insert, with its split, at a sync point', how: `${LONE}: runDeferrals` },
  retry: { meaning: "a retry's marker, for each ring", how: `${LONE}: Multicast.tryRetry over 32 rings` },
  receive: { meaning: 'taking a command out of its ring', how: `${LONE}: RingReader` },
  handover: { meaning: 'more for reading a record that another core wrote', how: `${PARTNER}: Handover` },
  append: { meaning: 'one hand-over of replies to a client', how: `${LONE}: DirectReplies` },
  set: { meaning: 'insert, get and remove of the set, by keys', how: `${LONE}: ConflictOrderedSet, 50 pending` },
  pairwiseSet: {
    meaning: 'insert, get and remove of the set, pairwise, nothing else pending',
    how: `${LONE}: ConflictOrderedSet`,
  },
  compareRead: { meaning: 'more for each pending command, two reads', how: `${LONE}: ConflictOrderedSet, 149 pending` },
  compareWrite: {
    meaning: 'more for each pending command, one of two a write',
    how: `${LONE}: ConflictOrderedSet, 149 pending`,
  },
  dispatch: { meaning: 'what else the scheduler does for a command', how: 'fitted', fitted: 'sdpe@1 updates' },
  lane: { meaning: "looking at one worker's queue", how: `${LONE}: Handover.publish and done` },
  choose: { meaning: "comparing one worker's load", how: `${LONE}: the loop over 64` },
  undo: { meaning: 'more for a command that may be undone', how: `${LONE}: batches of 256 with an undo table` },
  mix: { meaning: 'what else the primary does for a command', how: 'fitted', fitted: 'execute-verify@1 updates' },
};

/** A machine on which nothing takes time. For tests. */
export const FREE: Calibration = Object.freeze(
  Object.fromEntries(Object.keys(ORIGINS).map((name) => [name, name === 'cores' ? 1 : 0])),
) as unknown as Calibration;
