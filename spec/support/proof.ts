/**
 * What the checker of histories is checked with: all permutations, proofs of its orders, and random right histories. Nothing
 * here shares code with it.
 */
import type { CommandName } from '../../dist/index.js';
import type { Key, Operation } from './history.ts';
import { type CheckOptions, checkLinearizability } from './linearizability.ts';
import { same } from './oracle.ts';
import type { Random } from './random.ts';
import { type AnyCommand, answer, oracleOf } from './stores.ts';
import { render } from './trees.ts';
import { SCALARS } from './values.ts';

const F64 = SCALARS[2];

/** The call that an operation was. */
export function commandOf({ op, key, value }: Operation): AnyCommand {
  if (op === 'compareAndSet') return [op, key, ...(value as unknown[])];
  return [op, key, value];
}

/** Whether b may not take effect before a. */
function precedes(a: Operation, b: Operation): boolean {
  return a.return !== null && a.return < b.call;
}

const POINTS = ['get', 'has', 'put', 'insert', 'update', 'delete', 'compareAndSet', 'add'];

/** Whether the client's order, beside real time, puts a before b. */
function givenBefore(a: Operation, i: number, b: Operation, j: number): boolean {
  if (a.client !== b.client || a.key !== b.key || a.return === null || b.return === null) return false;
  return POINTS.includes(a.op) && POINTS.includes(b.op) && (a.call < b.call || (a.call === b.call && i < j));
}

/** Tries every order there is, on the oracle. */
export function bruteForce(history: readonly Operation[], clientOrder: boolean): boolean {
  const order: Operation[] = [];
  const tryNext = (left: readonly Operation[]): boolean => {
    if (left.every((one) => one.return === null)) return true;
    return left.some((one) => {
      const rest = left.filter((other) => other !== one);
      if (rest.some((other) => precedes(other, one))) return false;
      const at = history.indexOf(one);
      if (clientOrder && rest.some((other) => givenBefore(other, history.indexOf(other), one, at))) return false;
      // From the beginning each time: the oracle has no way back.
      const oracle = oracleOf(F64);
      for (const before of order) answer(oracle, commandOf(before));
      const found = answer(oracle, commandOf(one));
      if (one.return !== null && !same(found, one.result)) return false;
      order.push(one);
      const possible = tryNext(rest);
      order.pop();
      return possible;
    });
  };
  return tryNext(history);
}

/** Proves an 'ok': the orders hold every answered operation once, keep real time, and replay. */
export function prove(history: readonly Operation[], options: CheckOptions = {}): number {
  const verdict = checkLinearizability(history, options);
  if (verdict.verdict !== 'ok') throw new Error(verdict.report);
  const times = new Map<Operation, number>();
  for (const order of verdict.orders) {
    const oracle = oracleOf(F64);
    for (const [key, value] of options.initial ?? []) oracle.put(key, value);
    let latestCall = Number.NEGATIVE_INFINITY;
    for (const operation of order) {
      if (times.has(operation)) throw new Error(`twice in an order: ${render(operation)}`);
      times.set(operation, times.size);
      if ((operation.return ?? Number.POSITIVE_INFINITY) < latestCall)
        throw new Error(`too late: ${render(operation)}`);
      latestCall = Math.max(latestCall, operation.call);
      const found = answer(oracle, commandOf(operation));
      if (operation.return !== null && !same(found, operation.result)) {
        throw new Error(`${render(operation)} answers ${render(found)} in the order`);
      }
    }
  }
  for (const operation of history) {
    if (operation.return !== null && !times.has(operation)) throw new Error(`in no order: ${render(operation)}`);
  }
  if (options.clientOrder) {
    const last = new Map<string, Operation>();
    const byCall = [...history].sort((a, b) => a.call - b.call);
    for (const operation of byCall) {
      if (operation.return === null || !POINTS.includes(operation.op)) continue;
      const name = `${operation.client} ${operation.key}`;
      const before = last.get(name);
      if (before !== undefined && (times.get(before) as number) > (times.get(operation) as number))
        throw new Error(`not in the client's order: ${render([before, operation])}`);
      last.set(name, operation);
    }
  }
  return verdict.states;
}

/** A random operation on few keys with few values. */
export function draw(
  random: Random,
  keys: readonly Key[],
  values: number,
  wide: number,
): Omit<Operation, 'call' | 'return'> {
  const key = random.pick(keys);
  const value = random.below(values);
  if (random.chance(wide)) {
    const some = Array.from({ length: random.below(4) }, () => random.pick(keys));
    switch (random.below(7)) {
      case 0:
        return { client: 0, op: 'count' };
      case 1:
        return { client: 0, op: 'getAll', key: some };
      case 2:
      case 3:
        return { client: 0, op: 'putAll', key: some, value: some.map(() => random.below(values)) };
      case 4:
        return { client: 0, op: random.pick<CommandName>(['first', 'last']) };
      case 5:
        return { client: 0, op: random.pick<CommandName>(['floor', 'ceiling', 'lower', 'higher']), key };
      default: {
        const low = random.pick([{}, { gt: key }, { gte: key }]);
        const high = random.pick([{}, { lt: random.pick(keys) }, { lte: random.pick(keys) }]);
        const limit = random.chance(0.4) ? { limit: random.below(3) } : {};
        return { client: 0, op: 'range', key: { ...low, ...high, ...limit, reverse: random.chance(0.3) } };
      }
    }
  }
  switch (random.below(11)) {
    case 0:
    case 1:
      return { client: 0, op: 'get', key };
    case 2:
      return { client: 0, op: 'has', key };
    case 3:
    case 4:
      return { client: 0, op: 'put', key, value };
    case 5:
    case 6:
      return { client: 0, op: 'insert', key, value };
    case 7:
      return { client: 0, op: 'update', key, value };
    case 8:
      return { client: 0, op: 'delete', key };
    case 9:
      return { client: 0, op: 'compareAndSet', key, value: [random.below(values), value] };
    default:
      return { client: 0, op: 'add', key, value };
  }
}

export interface Simulation {
  readonly operations: number;
  readonly clients: number;
  readonly keys: number;
  /** Calls of a client under way at a time. */
  readonly window: number;
  /** Probability that an operation is one on several keys. */
  readonly wide?: number;
  readonly unknown?: number;
}

/** A right history of any size: every client has some calls under way, and one after the other takes effect or is answered. */
export function simulate(
  random: Random,
  { operations, clients, keys, window, wide = 0, unknown = 0 }: Simulation,
): Operation[] {
  const all: Key[] = Array.from({ length: keys }, (_, i) => 10 * i);
  const oracle = oracleOf(F64);
  const history: Operation[] = [];
  const underWay: { at: number; done: boolean }[] = [];
  const called = new Array(clients).fill(0);
  let time = 0;
  while (history.length < operations || underWay.length > 0) {
    const client = random.below(clients);
    if (history.length < operations && called[client] < window && random.chance(0.5)) {
      called[client]++;
      underWay.push({ at: history.length, done: false });
      const value = random.chance(0.7) ? history.length + 10 : random.below(5);
      history.push({ ...draw(random, all, 3, wide), client, call: time++, return: null });
      const last = history[history.length - 1];
      if (typeof last.value === 'number') history[history.length - 1] = { ...last, value };
      continue;
    }
    const which = random.below(underWay.length || 1);
    const one = underWay[which];
    if (one === undefined) continue;
    const operation = history[one.at];
    const never = unknown > 0 && random.chance(unknown);
    if (!one.done && !never) {
      history[one.at] = { ...operation, result: answer(oracle, commandOf(operation)) };
      one.done = true;
      if (random.chance(0.5)) continue;
    }
    if (never || (unknown > 0 && random.chance(unknown))) history[one.at] = { ...history[one.at], result: undefined };
    else history[one.at] = { ...history[one.at], return: time++ };
    called[operation.client as number]--;
    underWay.splice(which, 1);
  }
  return history;
}
