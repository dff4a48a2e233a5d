/**
 * The checker of histories: against tiny histories known right and known wrong, against all permutations, and against
 * large histories with a planted fault.
 */
import { describe, expect, it } from 'vitest';
import type { CommandName } from '../dist/index.js';
import { type Key, type Operation, readHistory, writeHistory } from './support/history.ts';
import { assertLinearizable, type CheckOptions, checkLinearizability } from './support/linearizability.ts';
import { same } from './support/oracle.ts';
import { type Random, seeded } from './support/random.ts';
import { type AnyCommand, answer, oracleOf } from './support/stores.ts';
import { render } from './support/trees.ts';
import { SCALARS } from './support/values.ts';

const F64 = SCALARS[2];
const U32 = SCALARS[0];

function commandOf({ op, key, value }: Operation): AnyCommand {
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

/** Tries every order there is, on the oracle. Shares nothing with the checker. */
function bruteForce(history: readonly Operation[], clientOrder: boolean): boolean {
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
function prove(history: readonly Operation[], options: CheckOptions = {}): number {
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
function draw(random: Random, keys: readonly Key[], values: number, wide: number): Omit<Operation, 'call' | 'return'> {
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

/** A right history of at most seven operations, whose order is that of the array. */
function smallHistory(random: Random): Operation[] {
  const keys = [5, 6, 7].slice(0, 1 + random.below(3));
  const oracle = oracleOf(F64);
  const reach = random.pick([8, 25, 60]);
  const wide = random.pick([0, 0.3, 0.6]);
  const history: Operation[] = [];
  const size = 1 + random.below(7);
  for (let i = 0; i < size; i++) {
    const operation = { ...draw(random, keys, 3, wide), client: random.below(3) };
    const unknown = random.chance(0.15);
    const call = 10 * i - random.below(reach);
    const end = 10 * i + random.below(reach);
    if (unknown && random.chance(0.5)) history.push({ ...operation, call, return: null });
    else {
      const result = answer(oracle, commandOf({ ...operation, call, return: end }));
      history.push(unknown ? { ...operation, call, return: null } : { ...operation, result, call, return: end });
    }
  }
  return history;
}

/** Changes something of a history; it may stay right. */
function mutate(random: Random, history: readonly Operation[]): Operation[] {
  const changed = [...history];
  const at = random.below(changed.length);
  const one = changed[at];
  const other = random.pick(changed);
  switch (random.below(5)) {
    case 0:
      if (one.op !== other.op || one.return === null || other.return === null) return changed;
      changed[at] = { ...one, result: other.result };
      changed[changed.indexOf(other)] = { ...other, result: one.result };
      return changed;
    case 1: {
      if (one.return === null) return changed;
      let { result } = one;
      if (typeof result === 'boolean') result = !result;
      else if (typeof result === 'number') result = random.chance(0.3) && one.op === 'get' ? undefined : result + 1;
      else if (result === undefined) result = random.pick(['get', 'add'].includes(one.op) ? [0, 1, 2] : [[6, 1]]);
      else if (Array.isArray(result) && Array.isArray(result[0])) result = result.slice(1);
      else if (one.op === 'getAll') result = (result as unknown[]).map(() => random.pick([undefined, 0, 1, 2]));
      changed[at] = { ...one, result };
      return changed;
    }
    case 2:
      changed.splice(at, 1);
      return changed;
    case 3:
      if (one.return !== null) changed[at] = { ...one, return: Math.max(one.call, one.return - random.below(40)) };
      return changed;
    default:
      changed[at] = { ...one, call: Math.min(one.call + random.below(40), one.return ?? Number.POSITIVE_INFINITY) };
      return changed;
  }
}

describe('the checker and all permutations', () => {
  it.each([false, true])('agree on thousands of small histories (client order: %s)', (clientOrder) =>
    seeded(`small histories ${clientOrder}`, (random) => {
      const counts = { right: 0, wrong: 0 };
      for (let i = 0; i < 6000; i++) {
        let history = smallHistory(random);
        for (let times = i % 4; times > 0 && history.length > 0; times--) history = mutate(random, history);
        const wanted = (i % 4 === 0 && !clientOrder) || bruteForce(history, clientOrder);
        const { verdict } = checkLinearizability(history, { clientOrder });
        if (verdict !== (wanted ? 'ok' : 'violation')) {
          throw new Error(`${verdict}, by permutation ${wanted}:\n${writeHistory(history)}`);
        }
        if (wanted) prove(history, { clientOrder });
        counts[wanted ? 'right' : 'wrong']++;
      }
      expect(counts.right).toBeGreaterThan(1000);
      expect(counts.wrong).toBeGreaterThan(1000);
    })(),
  );
});
