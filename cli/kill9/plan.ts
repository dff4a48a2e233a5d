/**
 * What a life of the store is made of, drawn from a seed, so that the process that is killed and the one that kills it
 * know the same operations without telling each other.
 */
import type { FsyncPolicy, ModelName } from '../../index.ts';
import { Random } from '../workload.ts';
import type { ContentName } from './content.ts';

/** Keys of each client. */
const KEYS = 24;

/** One life, from the start of its process to its end. */
export interface Life {
  readonly directory: string;
  readonly content: ContentName;
  readonly fsync: FsyncPolicy;
  readonly seed: number;
  /** Number of the life, from 1. */
  readonly life: number;
  readonly model: ModelName;
  readonly executors: number;
  readonly replicas: number;
  readonly clients: number;
  /** Operations that each client has under way. */
  readonly window: number;
  readonly snapshotEvery: number;
  /** Closes the store in order once it was opened, instead of being killed. */
  readonly last: boolean;
}

/** One operation, on one key or several. */
export interface Step {
  readonly name: 'put' | 'insert' | 'update' | 'add' | 'delete' | 'putAll' | 'addAll';
  readonly keys: readonly number[];
  readonly value: number;
}

/** The operations of a client in a life, in order, without end. */
export function* stepsOf({ seed, life }: Pick<Life, 'seed' | 'life'>, client: number): Generator<Step, never> {
  const random = new Random((seed ^ Math.imul(life * 64 + client + 1, 0x9e3779b1)) >>> 0);
  const key = () => client * 1000 + random.below(KEYS);
  for (let i = 1; ; i++) {
    // No two operations write the same value.
    const value = (life * 64 + client) * 1_000_000 + i;
    const kind = random.below(100);
    if (kind < 20) {
      const keys = new Set<number>();
      for (let n = 2 + random.below(4); n > 0; n--) keys.add(key());
      if (kind < 12) yield { name: 'putAll', keys: [...keys], value };
      else yield { name: 'addAll', keys: [...keys], value: 0.25 };
    } else if (kind < 32) yield { name: 'delete', keys: [key()], value };
    else if (kind < 45) yield { name: 'add', keys: [key()], value: 0.25 };
    else if (kind < 55) yield { name: 'insert', keys: [key()], value };
    else if (kind < 65) yield { name: 'update', keys: [key()], value };
    else yield { name: 'put', keys: [key()], value };
  }
}

/** What a key has after a step, if it had `before`. */
export function after({ name, value }: Step, before: number | undefined): number | undefined {
  if (name === 'delete') return undefined;
  if (name === 'add' || name === 'addAll') return (before ?? 0) + value;
  if (name === 'insert') return before ?? value;
  if (name === 'update') return before === undefined ? undefined : value;
  return value;
}
