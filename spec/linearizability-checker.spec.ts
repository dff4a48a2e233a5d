/**
 * The checker of histories: against tiny histories known right and known wrong, against all permutations, and against
 * large histories with a planted fault.
 */
import { describe, expect, it } from 'vitest';
import type { CommandName } from '../dist/index.js';
import { type Key, type Operation, readHistory, writeHistory } from './support/history.ts';
import { assertLinearizable, checkLinearizability } from './support/linearizability.ts';
import { bruteForce, commandOf, draw, prove, type Simulation, simulate } from './support/proof.ts';
import { type Random, seeded } from './support/random.ts';
import { type AnyCommand, answer, oracleOf } from './support/stores.ts';
import { SCALARS } from './support/values.ts';

const F64 = SCALARS[2];

/** One operation; its client is one of its own unless it is said. */
function op(
  call: number,
  end: number | null,
  [name, ...args]: AnyCommand,
  result?: unknown,
  client = 'any',
): Operation {
  const value = name === 'compareAndSet' ? args.slice(1) : args[1];
  return { client, op: name as CommandName, key: args[0] as Key, value, result, call, return: end };
}

describe('tiny histories', () => {
  const put5 = op(0, 1, ['put', 1, 5], true);
  const open = null;

  it.each<[string, Operation[]]>([
    ['nothing', []],
    [
      'every operation, one after the other',
      [
        op(0, 1, ['get', 1], undefined),
        op(2, 3, ['has', 1], false),
        op(4, 5, ['put', 1, 5], true),
        op(6, 7, ['put', 1, 6], false),
        op(8, 9, ['insert', 1, 7], false),
        op(10, 11, ['insert', 2, 8], true),
        op(12, 13, ['update', 2, 9], true),
        op(14, 15, ['update', 3, 9], false),
        op(16, 17, ['delete', 3], false),
        op(18, 19, ['compareAndSet', 2, 8, 1], false),
        op(20, 21, ['compareAndSet', 2, 9, 10], true),
        op(22, 23, ['compareAndSet', 3, 0, 1], false),
        op(24, 25, ['add', 2, 5], 10),
        op(26, 27, ['add', 4, 5], undefined),
        op(28, 29, ['get', 2], 15),
        op(30, 31, ['count'], 3),
        op(32, 33, ['first'], [1, 6]),
        op(34, 35, ['last'], [4, 5]),
        op(36, 37, ['floor', 3], [2, 15]),
        op(38, 39, ['ceiling', 3], [4, 5]),
        op(40, 41, ['lower', 2], [1, 6]),
        op(42, 43, ['higher', 2], [4, 5]),
        op(44, 45, ['lower', 1], undefined),
        op(46, 47, ['higher', 4], undefined),
        op(
          48,
          49,
          ['range', {}],
          [
            [1, 6],
            [2, 15],
            [4, 5],
          ],
        ),
        op(
          50,
          51,
          ['range', { gt: 1, lte: 4, reverse: true }],
          [
            [4, 5],
            [2, 15],
          ],
        ),
        op(
          52,
          53,
          ['range', { gte: 1, lt: 9, limit: 2 }],
          [
            [1, 6],
            [2, 15],
          ],
        ),
        op(54, 55, ['range', { gt: 4 }], []),
        op(56, 57, ['range', { limit: 0 }], []),
        op(58, 59, ['getAll', [4, 3, 1]], [5, undefined, 6]),
        op(60, 61, ['putAll', [1, 3], [7, 8]], 1),
        op(62, 63, ['getAll', [1, 3, 1]], [7, 8, 7]),
        op(64, 65, ['delete', 3], true),
        op(66, 67, ['count'], 3),
        op(68, 69, ['getAll', []], []),
        op(70, 71, ['putAll', [], []], 0),
        op(72, 73, ['putAll', [6, 6], [1, 2]], 1),
        op(74, 75, ['get', 6], 2),
      ],
    ],
    [
      'a read that overlaps a write sees the old value',
      [put5, op(2, 6, ['put', 1, 6], false), op(3, 4, ['get', 1], 5)],
    ],
    ['or the new one', [put5, op(2, 6, ['put', 1, 6], false), op(3, 4, ['get', 1], 6)]],
    ['times may touch', [op(0, 1, ['put', 1, 5], true), op(1, 2, ['get', 1], undefined)]],
    [
      'two inserts with a delete between',
      [op(0, 1, ['insert', 1, 5], true), op(2, 9, ['delete', 1], true), op(3, 8, ['insert', 1, 6], true)],
    ],
    ['an unknown outcome happened', [put5, op(2, open, ['put', 1, 6]), op(3, 4, ['get', 1], 6)]],
    ['it did not happen', [put5, op(2, open, ['put', 1, 6]), op(3, 4, ['get', 1], 5)]],
    ['it happened late', [put5, op(2, open, ['put', 1, 6]), op(3, 4, ['get', 1], 5), op(5, 6, ['get', 1], 6)]],
    [
      'an unknown putAll happened as a whole',
      [op(2, open, ['putAll', [1, 2], [6, 7]]), op(3, 4, ['getAll', [1, 2]], [6, 7])],
    ],
    ['an unknown delete', [put5, op(2, open, ['delete', 1]), op(3, 4, ['insert', 1, 6], true)]],
    [
      'a read without an answer',
      [op(2, open, ['range', {}]), op(3, open, ['getAll', [1]]), op(4, open, ['count']), op(5, open, ['get', 1])],
    ],
    [
      'a range beside writes sees one of their states',
      [
        put5,
        op(2, 9, ['put', 2, 6], true),
        op(2, 9, ['delete', 1], true),
        op(
          3,
          8,
          ['range', {}],
          [
            [1, 5],
            [2, 6],
          ],
        ),
      ],
    ],
    [
      'a range that fits now, and fits later too',
      [
        op(0, 1, ['put', 1, 4], true),
        op(2, 3, ['put', 1, 5], false),
        op(2, 3, ['put', 1, 6], false),
        op(4, 9, ['range', {}], [[1, 6]]),
        op(5, 6, ['get', 1], 5),
        op(7, 8, ['put', 1, 6], false),
      ],
    ],
    [
      'a limited range says nothing of what lies behind',
      [put5, op(2, 3, ['put', 2, 6], true), op(4, 5, ['range', { limit: 1 }], [[1, 5]])],
    ],
  ])('right: %s', (_, history) => {
    prove(history);
    prove(readHistory(writeHistory(history)));
  });

  it.each<[string, Operation[], culprit: number]>([
    ['a stale read', [put5, op(2, 3, ['put', 1, 6], false), op(4, 5, ['get', 1], 5)], 2],
    ['a read from the future', [op(0, 1, ['get', 1], 5), op(2, 3, ['put', 1, 5], true)], 0],
    ['a value never written', [put5, op(2, 3, ['get', 1], 7)], 1],
    ['a value of another key', [put5, op(2, 3, ['get', 2], 5)], 1],
    ['a lost update', [put5, op(2, 5, ['add', 1, 1], 5), op(3, 6, ['add', 1, 1], 5)], 2],
    ['an add executed twice', [put5, op(2, 3, ['add', 1, 1], 5), op(4, 5, ['get', 1], 7)], 2],
    ['has without an entry', [op(2, 3, ['has', 1], true)], 0],
    ['has not, with an entry', [put5, op(2, 3, ['has', 1], false)], 1],
    ['put says new, but it is not', [put5, op(2, 3, ['put', 1, 6], true)], 1],
    ['put says not new, but it is', [op(2, 3, ['put', 1, 6], false)], 0],
    ['two inserts without a delete between', [op(0, 9, ['insert', 1, 5], true), op(0, 8, ['insert', 1, 6], true)], 0],
    ['an insert refused without reason', [op(0, 1, ['insert', 1, 5], false)], 0],
    ['an update of nothing', [op(0, 1, ['update', 1, 5], true)], 0],
    ['an update refused without reason', [put5, op(2, 3, ['update', 1, 6], false)], 1],
    ['two deletes of one entry', [put5, op(2, 9, ['delete', 1], true), op(2, 8, ['delete', 1], true)], 1],
    ['a delete that missed its entry', [put5, op(2, 3, ['delete', 1], false)], 1],
    ['a deleted entry is read', [put5, op(2, 3, ['delete', 1], true), op(4, 5, ['get', 1], 5)], 2],
    [
      'one compareAndSet too many',
      [put5, op(2, 9, ['compareAndSet', 1, 5, 6], true), op(2, 8, ['compareAndSet', 1, 5, 7], true)],
      1,
    ],
    ['a compareAndSet that fits was refused', [put5, op(2, 3, ['compareAndSet', 1, 5, 6], false)], 1],
    ['reads that go back', [put5, op(2, 9, ['put', 1, 6], false), op(3, 4, ['get', 1], 6), op(5, 6, ['get', 1], 5)], 3],
    [
      'two readers see two writes in two orders',
      [
        op(0, 9, ['put', 1, 5], true),
        op(0, 9, ['put', 1, 6], false),
        op(10, 11, ['get', 1], 6),
        op(12, 13, ['get', 1], 5),
      ],
      3,
    ],
    [
      'a range of two states',
      [
        put5,
        op(2, 3, ['put', 2, 6], true),
        op(
          4,
          20,
          ['range', {}],
          [
            [1, 5],
            [2, 8],
          ],
        ),
        op(6, 7, ['put', 1, 7], false),
        op(8, 9, ['put', 2, 8], false),
      ],
      2,
    ],
    ['a range that lacks an entry', [put5, op(2, 3, ['put', 2, 6], true), op(4, 5, ['range', {}], [[2, 6]])], 2],
    [
      'a range with an entry too many',
      [
        put5,
        op(
          4,
          5,
          ['range', { limit: 1 }],
          [
            [1, 5],
            [2, 6],
          ],
        ),
      ],
      1,
    ],
    [
      'a range out of order',
      [
        put5,
        op(2, 3, ['put', 2, 6], true),
        op(
          4,
          5,
          ['range', {}],
          [
            [2, 6],
            [1, 5],
          ],
        ),
      ],
      2,
    ],
    ['a range beyond its bounds', [put5, op(4, 5, ['range', { gt: 1 }], [[1, 5]])], 1],
    ['a floor that passes over an entry', [put5, op(2, 3, ['put', 2, 6], true), op(4, 5, ['floor', 3], [1, 5])], 2],
    ['a higher that is not', [put5, op(4, 5, ['higher', 1], [1, 5])], 1],
    ['no first, with an entry', [put5, op(4, 5, ['first'], undefined)], 1],
    ['a count that never was', [put5, op(2, 9, ['put', 2, 6], true), op(3, 8, ['count'], 3)], 2],
    ['a count without what is there', [put5, op(2, 3, ['count'], 0)], 1],
    ['half a putAll', [op(0, 9, ['putAll', [1, 2], [5, 6]], 2), op(2, 3, ['getAll', [1, 2]], [5, undefined])], 1],
    [
      'half a putAll, in two steps',
      [op(0, 9, ['putAll', [1, 2], [5, 6]], 2), op(2, 3, ['get', 1], 5), op(4, 5, ['get', 2], undefined)],
      2,
    ],
    ['a putAll that miscounts', [put5, op(2, 3, ['putAll', [1, 2], [5, 6]], 2)], 1],
    ['a key with two values in one getAll', [put5, op(2, 3, ['getAll', [1, 1]], [5, 6])], 1],
    ['a getAll that is too short', [put5, op(2, 3, ['getAll', [1, 2]], [5])], 1],
    [
      'two wide reads that see two writes in two orders',
      [
        op(0, 9, ['put', 1, 5], true),
        op(0, 9, ['put', 2, 6], true),
        op(1, 8, ['getAll', [1, 2]], [5, undefined]),
        op(1, 8, ['getAll', [1, 2]], [undefined, 6]),
      ],
      3,
    ],
    ['an unknown outcome seen before its call', [put5, op(2, 3, ['get', 1], 6), op(4, open, ['put', 1, 6])], 1],
    [
      'an unknown outcome that came and went',
      [put5, op(2, open, ['put', 1, 6]), op(3, 4, ['get', 1], 6), op(5, 6, ['get', 1], 5)],
      3,
    ],
    ['an unknown add seen twice', [put5, op(2, open, ['add', 1, 1]), op(3, 4, ['get', 1], 7)], 2],
  ])('wrong: %s', (_, history, culprit) => {
    for (const given of [history, readHistory(writeHistory(history))]) {
      const found = checkLinearizability(given);
      if (found.verdict !== 'violation') throw new Error(`found ${found.verdict}`);
      expect(found.unplaced[0]).toBe(given[culprit]);
      // The prefix is everything answered before, and explains it.
      const end = found.unplaced[0].return as number;
      const near = (one: Operation) => one.return !== null && one.return < end;
      for (const one of given)
        if (near(one) && found.keys.includes(one.key as Key)) expect(found.prefix).toContain(one);
      prove(found.prefix);
    }
  });

  it("a client's order, where it is promised", () => {
    const batch = [op(0, 9, ['put', 1, 5], true, 'one'), op(0, 9, ['put', 1, 6], false, 'one')];
    const wrong = [...batch, op(10, 11, ['get', 1], 5)];
    prove([...batch, op(10, 11, ['get', 1], 6)], { clientOrder: true });
    prove([...batch, op(1, 8, ['delete', 1], true, 'other'), op(10, 11, ['get', 1], undefined)].slice(0, 2), {
      clientOrder: true,
    });
    expect(checkLinearizability(wrong).verdict).toBe('violation');
    const both = [op(0, 9, ['insert', 1, 5], true, 'one'), op(0, 9, ['insert', 1, 6], false, 'one')];
    expect(checkLinearizability([...both].reverse(), { clientOrder: true }).verdict).toBe('violation');
    prove([...both].reverse());
  });

  it('entries from the beginning, and sums of other types', () => {
    prove([op(0, 1, ['add', 1, 1], 5), op(2, 3, ['count'], 2)], {
      initial: [
        [1, 5],
        [2, 0],
      ],
    });
    const byte = (a: number, b: number) => (a + b) & 255;
    assertLinearizable([op(0, 1, ['add', 1, 255], undefined), op(2, 3, ['add', 1, 2], 255), op(4, 5, ['get', 1], 1)], {
      plus: byte,
    });
    const top = 2n ** 63n - 1n;
    assertLinearizable([
      op(0, 1, ['add', 1, top], undefined),
      op(2, 3, ['add', 1, 1n], top),
      op(4, 5, ['get', 1], -(2n ** 63n)),
    ]);
    // Equal means bit for bit.
    expect(checkLinearizability([op(0, 1, ['put', 1, 0], true), op(2, 3, ['get', 1], -0)]).verdict).toBe('violation');
    assertLinearizable([op(0, 1, ['put', 1, Number.NaN], true), op(2, 3, ['get', 1], Number.NaN)]);
    assertLinearizable([op(0, 1, ['put', 1, { a: [1, 2n] }], true), op(2, 3, ['get', 1], { a: [1, 2n] })]);
  });

  it('what is no history is refused', () => {
    expect(() => checkLinearizability([op(0, 1, ['swap', 1, 2])])).toThrow('unknown operation swap');
    expect(() => checkLinearizability([op(2, 1, ['get', 1])])).toThrow('answered before it was called');
  });

  it('the report says what happened', () => {
    const history = [
      put5,
      op(2, 3, ['put', 2, 6], true),
      op(
        4,
        20,
        ['range', {}],
        [
          [1, 5],
          [2, 8],
        ],
      ),
    ];
    history.push(op(6, 7, ['put', 1, 7], false), op(8, 9, ['put', 2, 8], false));
    const found = checkLinearizability(history);
    expect(found.verdict === 'violation' && found.report).toBe(
      [
        'not linearizable: nothing explains the answer of [4, 20] client any: range({}) -> [[1,5],[2,8]]',
        'keys that belong together: 1, 2',
        '  key 1 held 7 or 5 meanwhile, as answered',
        '  key 2 held 8 or 6 meanwhile, as answered',
        '  but not all of it at one instant',
        'an order that explains all 4 operations before (the last of those on its keys):',
        '  [0, 1] client any: put(1, 5) -> true',
        '  [2, 3] client any: put(2, 6) -> true',
        '  [6, 7] client any: put(1, 7) -> false',
        '  [8, 9] client any: put(2, 8) -> false',
        'under way then, and not in that order:',
        '  [4, 20] client any: range({}) -> [[1,5],[2,8]]',
      ].join('\n'),
    );
  });
});

describe('histories as lines', () => {
  it('have seven members, and come back as they were', () => {
    const history: Operation[] = [
      op(1, 2, ['put', 2n ** 63n, -0], true),
      op(3, null, ['compareAndSet', 1, Number.NaN, Number.NEGATIVE_INFINITY]),
      op(4, 5, ['range', { gte: 1, limit: Number.POSITIVE_INFINITY }], [[1, { name: 'x', n: 7n }]]),
      op(6, 7, ['getAll', [1, 2]], [undefined, 1]),
      op(8, 9, ['get', 1], undefined),
    ];
    const lines = writeHistory(history);
    const parsed = lines
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    for (const line of parsed) {
      expect(Object.keys(line)).toEqual(['client', 'op', 'key', 'value', 'result', 'call', 'return']);
    }
    expect(parsed[0]).toMatchObject({ key: { $bigint: '9223372036854775808' }, value: { $number: '-0' }, return: 2 });
    expect(parsed[1].return).toBe(null);
    expect(readHistory(`\n${lines}\n`)).toEqual(history);
  });
});

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
      else if (result === undefined)
        result = random.pick<unknown>(['get', 'add'].includes(one.op) ? [0, 1, 2] : [[6, 1]]);
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
      for (let i = 0; i < 4000; i++) {
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
      expect(counts.right).toBeGreaterThan(500);
      expect(counts.wrong).toBeGreaterThan(500);
    })(),
  );
});

describe('large histories', () => {
  const shapes: readonly Simulation[] = [
    { operations: 20_000, clients: 8, keys: 10, window: 1 },
    { operations: 20_000, clients: 8, keys: 1, window: 1 },
    { operations: 20_000, clients: 4, keys: 50, window: 8 },
    { operations: 20_000, clients: 4, keys: 20, window: 8, unknown: 0.001 },
    { operations: 2000, clients: 4, keys: 4, window: 1, unknown: 0.015 },
    { operations: 20_000, clients: 4, keys: 20, window: 1, wide: 0.1 },
    { operations: 2000, clients: 4, keys: 20, window: 8, wide: 0.05 },
    { operations: 2000, clients: 4, keys: 20, window: 1, wide: 0.2, unknown: 0.01 },
  ];
  it.each(shapes)('%o', (shape) =>
    seeded('large', (random) => {
      const history = simulate(random, shape);
      prove(history);
      // The same with a fault near its end.
      const at = history.findLastIndex((one) => one.op === 'get' && one.return !== null);
      const wrong = history.with(at, { ...history[at], result: -5 });
      const found = checkLinearizability(wrong);
      expect(found.verdict === 'violation' && found.unplaced[0]).toBe(wrong[at]);
    })(),
  );

  it('gives up where it is told to, but a violation elsewhere counts', () =>
    seeded('undecided', (random) => {
      const history = simulate(random, { operations: 300, clients: 4, keys: 1, window: 4 });
      expect(checkLinearizability(history, { limit: 50 })).toMatchObject({ verdict: 'undecided', keys: [0] });
      expect(() => assertLinearizable(history, { limit: 50 })).toThrow('undecided after 51 states among the keys 0');
      const wrong: Operation = { client: 9, op: 'get', key: 500, result: 1, call: 0, return: 1 };
      expect(checkLinearizability([...history, wrong], { limit: 50 })).toMatchObject({
        verdict: 'violation',
        keys: [500],
      });
    })());
});
