/** What all simulated models have in common. */
import type { Calibration } from './calibration.ts';
import { type Commands, DELETE, INSERT, READ, UPDATE } from './commands.ts';
import type { Simulation, Thread } from './events.ts';

/** What a model is simulated with. */
export interface Setting {
  readonly simulation: Simulation;
  readonly calibration: Calibration;
  readonly executors: number;
  readonly commands: Commands;
  /** Commands that stand in the streams ahead of a retry. */
  readonly backlog: number;
  /** Most entries of a leaf. */
  readonly leafCapacity: number;
  /** Nanoseconds of a command in a long run, by kind. */
  readonly service: Float64Array;
}

/** What a model's threads count while they run. */
export interface Tally {
  refused: number;
  deferred: number;
  retried: number;
  syncPoints: number;
  /** Nanoseconds that executors worked only to bring barriers about. */
  barrierWork: number;
  /** Those that execute commands; others only schedule. */
  readonly executors: Thread[];
}

export function emptyTally(): Tally {
  return { refused: 0, deferred: 0, retried: 0, syncPoints: 0, barrierWork: 0, executors: [] };
}

/**
 * Nanoseconds of a command with `sharing` threads at work on one tree. Keys are spread over threads and over leaves, so a
 * leaf was touched last by another thread with probability (n - 1) / n; a writer pays for that. A reader pays only if
 * another thread has *written* since it last read the leaf itself: with a share w of writers, w(n - 1) / (1 + w(n - 1)).
 */
export function serviceTimes(calibration: Calibration, sharing: number, writes: number): Float64Array {
  const { line, cores, read, update } = calibration;
  const others = sharing - 1;
  const forReader = (writes * others) / (1 + writes * others);
  const forWriter = others / sharing;
  const slowdown = sharing > 1 ? cores : 1;
  const times = new Float64Array(4);
  times[READ] = (read + line * forReader) * slowdown;
  times[UPDATE] = (update + line * forWriter) * slowdown;
  times[INSERT] = (calibration.insert + line * forWriter) * slowdown;
  times[DELETE] = (calibration.delete + line * forWriter) * slowdown;
  return times;
}

/** The calibration of the model direct: a call for each command, and no runs. */
export function directly(calibration: Calibration): Calibration {
  const { directRead, directUpdate, update } = calibration;
  return {
    ...calibration,
    call: 0,
    read: directRead,
    update: directUpdate,
    insert: directUpdate + calibration.insert - update,
    delete: directUpdate + calibration.delete - update,
  };
}
