/**
 * The layout is what its files draw: no two things share a byte, everything stands where its width wants it, codes are
 * unique, and a node of any shape holds what its capacities promise.
 */
import { describe, expect, test } from 'vitest';
import { keyCode, pagesOf, shapeOf } from '../dist/engine/shape.js';
import type { FixedKeyType, FixedValueType } from '../dist/index.js';
import * as bits from '../dist/layout/bits.js';
import * as durable from '../dist/layout/durable.js';
import * as latency from '../dist/layout/latency.js';
import * as node from '../dist/layout/node.js';
import * as operation from '../dist/layout/operation.js';
import * as streams from '../dist/layout/streams.js';
import * as memory from '../dist/layout/tree-memory.js';
import * as watch from '../dist/layout/watch.js';
import { seeded } from './support/random.ts';
import { refusal } from './support/refusals.ts';
import { agreeOnAll, type Entry, makeTree } from './support/trees.ts';
import { KEY_TYPES, VALUES } from './support/values.ts';

const FILES = { bits, durable, node, operation, streams, memory, watch, latency };

/** The constants of a file whose names begin with `prefix`. */
function named(file: object, prefix: string): [string, number][] {
  return Object.entries(file).filter(([name]) => name.startsWith(prefix)) as [string, number][];
}

type Field = readonly [name: string, at: number, bytes: number];

/** Fields lie in their container, stand on multiples of their width (up to a word of 8), and share no byte. */
function disjoint(container: string, start: number, end: number, fields: readonly Field[]): void {
  const inOrder = [...fields].sort((a, b) => a[1] - b[1]);
  let free = start;
  for (const [name, at, bytes] of inOrder) {
    expect(at, `${container}: ${name} begins behind what stands before it`).toBeGreaterThanOrEqual(free);
    expect(at % Math.min(bytes, 8), `${container}: ${name} is aligned`).toBe(0);
    free = at + bytes;
  }
  expect(free, `${container} ends in time`).toBeLessThanOrEqual(end);
}

const powerOfTwo = (n: number) => n > 0 && Number.isInteger(Math.log2(n));
const unique = (values: number[]) => expect(new Set(values).size).toBe(values.length);

describe('every file of layout/', () => {
  for (const [name, file] of Object.entries(FILES)) {
    test(`${name} exports nothing but integers of 32 bits`, () => {
      const constants = Object.entries(file);
      expect(constants.length).toBeGreaterThan(2);
      for (const [constant, value] of constants) {
        // Two stand in words of 32 bits that are read with their sign.
        const least = constant === 'NOBODY' || constant === 'CALL_ALL_KEYS' ? -1 : 0;
        expect(Number.isInteger(value) && value >= least && value < 2 ** 32, `${constant} = ${String(value)}`).toBe(
          true,
        );
        expect(constant).toMatch(/^[A-Z][A-Z0-9_]*$/);
      }
    });
  }

  test('sizes that arithmetic relies on are powers of two', () => {
    const sizes = [bits.CACHE_LINE, bits.PAGE, memory.THREAD_SIZE, memory.BATCH, memory.OVERLAP, memory.SCAN_LEAF_SIZE];
    sizes.push(operation.KEPT_PLACES, streams.VERIFY_PLACES);
    for (const size of [...sizes, memory.SCAN_LEAVES, memory.SCAN_BYTES, node.KEY_VECTOR, operation.SLOT]) {
      expect(powerOfTwo(size), String(size)).toBe(true);
    }
    expect(memory.BATCH % memory.OVERLAP).toBe(0);
    expect(operation.SLOT).toBe(bits.CACHE_LINE);
  });

  test('no address of a tree needs more than 32 bits', () => {
    expect(bits.MAX_PAGES * bits.PAGE).toBeLessThan(2 ** 32);
    expect((bits.MAX_PAGES + 1) * bits.PAGE).toBe(2 ** 32);
  });
});

describe('the memory of a tree', () => {
  const { HEADER, HEADER_BUMP, HEADER_END, HEADER_FREE, MAX_THREADS, NODES, THREAD_SIZE, THREADS } = memory;

  test('guard, header, thread slots, nodes: one behind the other', () => {
    expect(HEADER).toBeGreaterThanOrEqual(64);
    expect(HEADER_END).toBeLessThanOrEqual(THREADS);
    expect(THREADS + MAX_THREADS * THREAD_SIZE).toBeLessThanOrEqual(NODES);
    for (const start of [HEADER, THREADS, NODES]) expect(start % bits.CACHE_LINE).toBe(0);
    expect(NODES % bits.PAGE).toBe(0);
  });

  test('the fields of the header', () => {
    const fields = named(memory, 'HEADER_').filter(([name]) => !/^HEADER_(END|BLOB_.*)$/.test(name));
    expect(fields.length).toBe(19);
    disjoint(
      'header',
      HEADER,
      HEADER_END,
      fields.map(([name, at]) => [name, at, name === 'HEADER_FREE' ? 8 : 4]),
    );
  });

  test("the blobs' words stand between the header and the threads' slots", () => {
    const { HEADER_BLOB_SLAB, HEADER_BLOB_FREE, BLOB_CLASSES } = memory;
    disjoint('blobs', HEADER_END, THREADS, [
      ['slab', HEADER_BLOB_SLAB, 8],
      ['free', HEADER_BLOB_FREE, 8 * BLOB_CLASSES],
    ]);
    // The largest class holds the longest blob: classes double every other one, from 32 bytes.
    expect(32 * 2 ** ((BLOB_CLASSES - 1) >> 1)).toBeGreaterThanOrEqual(memory.MAX_BLOB_BYTES);
    expect(48 * 2 ** ((BLOB_CLASSES - 2) >> 1)).toBeGreaterThanOrEqual(memory.MAX_BLOB_BYTES + memory.BLOB_BYTES);
  });

  test('what threads write all the time stands on lines of its own', () => {
    const line = (at: number) => Math.floor(at / bits.CACHE_LINE);
    const fields = named(memory, 'HEADER_').filter(([name]) => name !== 'HEADER_END');
    // A block is entered in the list when it was taken from the unused bytes: the two words change together.
    for (const [hot, names] of [
      [HEADER_FREE, ['HEADER_FREE']],
      [HEADER_BUMP, ['HEADER_BLOCKS', 'HEADER_BUMP']],
    ] as const) {
      expect(
        fields
          .filter(([, at]) => line(at) === line(hot))
          .map(([name]) => name)
          .sort(),
      ).toEqual(names);
    }
    expect(THREAD_SIZE % (2 * bits.CACHE_LINE)).toBe(0);
  });

  test('the fields of a thread slot, and its states', () => {
    const wide = ['ENTRIES', 'DIGEST', 'LEAVES', 'BRANCHES', 'SPLITS', 'MERGES', 'RESTARTS'];
    const states = ['THREAD_FREE', 'THREAD_ALIVE', 'THREAD_DEAD', 'THREAD_STATE_MASK', 'THREAD_OWNER_SHIFT'];
    const fields = named(memory, 'THREAD_').filter(([name]) => name !== 'THREAD_SIZE' && !states.includes(name));
    expect(fields.length).toBe(wide.length + 4);
    disjoint(
      'thread slot',
      0,
      THREAD_SIZE,
      fields.map(([name, at]) => [name, at, wide.includes(name.slice(7)) ? 8 : 4]),
    );
    unique([memory.THREAD_FREE, memory.THREAD_ALIVE, memory.THREAD_DEAD]);
    expect(memory.THREAD_DEAD & ~memory.THREAD_STATE_MASK).toBe(0);
    expect(2 ** memory.THREAD_OWNER_SHIFT - 1).toBe(memory.THREAD_STATE_MASK);
    expect(memory.THREAD_FREE, 'fresh memory is full of free slots').toBe(0);
  });

  test('thread ids fit into a version word, and nobody is thread 0', () => {
    expect(MAX_THREADS).toBeLessThanOrEqual(2 ** node.VERSION_OWNER_BITS);
  });

  test('the registers of a work block', () => {
    disjoint('work block', 0, memory.BLOCK_VALUE, [
      ['key', memory.BLOCK_KEY, 8],
      ['key2', memory.BLOCK_KEY2, 8],
      ['count', memory.BLOCK_COUNT, 4],
      ['more', memory.BLOCK_MORE, 4],
    ]);
    expect(memory.BLOCK_VALUE % 8).toBe(0);
    expect(memory.BLOCK_MORE).toBe(memory.BLOCK_COUNT + 4);
  });

  test('what stands before a block', () => {
    disjoint('block', 0, memory.BLOCK_PREFIX, [
      ['next', memory.BLOCK_NEXT, 4],
      ['size', memory.BLOCK_SIZE, 4],
      ['owner', memory.BLOCK_OWNER, 4],
    ]);
    // Blocks begin and end on cache lines, as nodes do.
    expect(memory.BLOCK_PREFIX % bits.CACHE_LINE).toBe(0);
  });

  test('types, flags and sizes of values', () => {
    const keys = named(memory, 'KEY_').filter(([name]) => name !== 'KEY_SLOTTED');
    unique(keys.map(([, code]) => code));
    // Those that vary in length stand together, behind the others.
    for (const [name, code] of keys) expect(code >= memory.KEY_SLOTTED, name).toBe(/STRING|TUPLE/.test(name));
    unique(named(memory, 'VALUE_').map(([, code]) => code));
    expect(keys.length).toBe(KEY_TYPES.length + 3);
    for (const [name, code] of [...named(memory, 'KEY_'), ...named(memory, 'VALUE_')])
      expect(code, name).toBeGreaterThan(0);
    const flags = named(memory, 'SCAN_').filter(([name]) => /LOWER|UPPER|REVERSE/.test(name));
    expect(flags.length).toBe(5);
    for (const [name, flag] of flags) expect(powerOfTwo(flag), name).toBe(true);
    unique(flags.map(([, flag]) => flag));
    expect(memory.MIN_VALUE_SIZE).toBe(1);
    expect(memory.MAX_VALUE_SIZE % 8).toBe(0);
    expect(memory.SCAN_MIN_ENTRIES * memory.MAX_VALUE_SIZE).toBeLessThanOrEqual(memory.SCAN_BYTES);
  });
});

describe('a node', () => {
  test('version, count, level, keys: one behind the other', () => {
    disjoint('node', 0, node.NODE_KEYS, [
      ['version', node.NODE_VERSION, 8],
      ['count', node.NODE_COUNT, 2],
      ['level', node.NODE_LEVEL, 2],
    ]);
    expect(node.NODE_KEYS % node.KEY_VECTOR).toBe(0);
    // check() reads count and level as one word.
    expect(node.NODE_COUNT % 4).toBe(0);
    expect(node.NODE_LEVEL).toBe(node.NODE_COUNT + 2);
  });

  test('the link of a free node touches neither its version nor its level', () => {
    expect(node.NODE_NEXT_FREE).toBeGreaterThanOrEqual(node.NODE_KEYS);
    expect(node.NODE_NEXT_FREE % 4).toBe(0);
  });

  test('latch, owner and count of changes share no bit of the version word', () => {
    const latch = BigInt(node.VERSION_LATCHED);
    const owner = (2n ** BigInt(node.VERSION_OWNER_BITS) - 1n) << BigInt(node.VERSION_OWNER_SHIFT);
    const count = BigInt.asUintN(64, -1n << BigInt(node.VERSION_COUNT_SHIFT));
    expect([latch & owner, owner & count, latch & count]).toEqual([0n, 0n, 0n]);
    expect(latch | owner | count).toBe(2n ** 64n - 1n);
  });

  test('no level is taken for a free node, and counts fit 16 bits', () => {
    expect(node.MAX_LEVELS).toBeLessThan(node.LEVEL_FREE);
    expect(node.MAX_FANOUT).toBeLessThan(2 ** 16);
    expect(node.MIN_FANOUT).toBeGreaterThanOrEqual(4);
    // Fan-out 4, half full, over every byte that can be.
    expect(Math.log2((bits.MAX_PAGES * bits.PAGE) / 64)).toBeLessThanOrEqual(node.MAX_LEVELS);
  });
});

describe('operations and replies', () => {
  test('the fields of a record fill its first 32 bytes', () => {
    const fields: Field[] = [
      ['code', operation.OPERATION_CODE, 1],
      ['flags', operation.OPERATION_FLAGS, 1],
      ['slots', operation.OPERATION_SLOTS, 2],
      ['client', operation.OPERATION_CLIENT, 4],
      ['sequence', operation.OPERATION_SEQUENCE, 4],
      ['run', operation.OPERATION_RUN, 4],
      ['number', operation.OPERATION_NUMBER, 4],
      ['groups', operation.OPERATION_GROUPS, 4],
      ['key', operation.OPERATION_KEY, 8],
      ['value', operation.OPERATION_VALUE, 8],
    ];
    const flags = [
      ...['OPERATION_REVERSE', 'OPERATION_RESENT', 'OPERATION_COUNTED'],
      ...['OPERATION_WATCHED', 'OPERATION_WATCHED_GROUP'],
    ];
    unique([operation.OPERATION_RESENT, operation.OPERATION_WATCHED, operation.OPERATION_COUNTED, memory.SCAN_REVERSE]);
    expect(operation.OPERATION_WATCHED_GROUP).toBe(operation.MAX_GROUPS - 1);
    expect(operation.OPERATION_WATCHED & operation.OPERATION_WATCHED_GROUP).toBe(0);
    // A count's range has the flags of a scan, and is neither watched nor reversed.
    expect(operation.OPERATION_COUNTED).toBeGreaterThan(memory.SCAN_REVERSE);
    expect(fields.length).toBe(named(operation, 'OPERATION_').filter(([name]) => !flags.includes(name)).length);
    disjoint('record', 0, operation.SLOT, fields);
    disjoint('range', operation.OPERATION_VALUE, operation.SLOT, [
      ['upper', operation.RANGE_UPPER, 8],
      ['limit', operation.RANGE_LIMIT, 4],
    ]);
    // Both values of a compareAndSet on 8 bytes fit into one slot.
    expect(operation.OPERATION_VALUE + 16).toBeLessThanOrEqual(operation.SLOT);
  });

  test('a slot count of 16 bits covers the largest record', () => {
    const bytes = operation.OPERATION_VALUE + 2 * memory.MAX_VALUE_SIZE;
    expect(Math.ceil(bytes / operation.SLOT)).toBeLessThan(2 ** 16);
    expect(operation.MAX_GROUPS).toBeLessThanOrEqual(32);
  });

  test('codes are unique', () => {
    const codes = named(operation, 'OP_').filter(([name]) => name !== 'OP_LAST_POINT');
    unique(codes.map(([, code]) => code));
    for (const [name, code] of codes) expect(code > 0 && code < 256, name).toBe(true);
    unique(named(operation, 'STATUS_').map(([, code]) => code));
    unique(named(operation, 'STOP_').map(([, code]) => code));
    unique(named(operation, 'APPLY_').map(([, code]) => code));
    for (const [name, flag] of named(operation, 'APPLY_')) expect(powerOfTwo(flag), name).toBe(true);
    for (const [name, code] of named(operation, 'STATUS_'))
      expect(code < 2 ** operation.REPLY_LENGTH_SHIFT, name).toBe(true);
  });

  test('flags of a command: the one that comes again is none of those of a range', () => {
    const scan = named(memory, 'SCAN_').filter(([name]) => /LOWER|UPPER|REVERSE/.test(name));
    const flags = [operation.OPERATION_RESENT, ...scan.map(([, flag]) => flag)];
    for (const flag of flags) expect(powerOfTwo(flag) && flag < 256).toBe(true);
    unique(flags);
  });

  test('commands of the store itself stand behind all others, and their client is none', () => {
    const control = ['OP_TAKEOVER', 'OP_CUT', 'OP_FENCE', 'OP_COMPARE', 'OP_SNAPSHOT'];
    const behind = named(operation, 'OP_').filter(([, code]) => code >= operation.OP_TAKEOVER);
    expect(behind.map(([name]) => name).sort()).toEqual([...control].sort());
    expect(operation.NOBODY).toBe(-1);
    // As a record's client, read without sign, it is above all of them.
    expect(operation.NOBODY >>> 0).toBeGreaterThan(2 ** 31);
  });

  test('the fields of a kept answer, and the flags beside its status', () => {
    disjoint('kept answer', 0, operation.KEPT_SIZE, [
      ['sequence', operation.KEPT_SEQUENCE, 4],
      ['status', operation.KEPT_STATUS, 4],
      ['payload', operation.KEPT_PAYLOAD, 8],
      ['blob', operation.KEPT_BLOB, 8],
    ]);
    for (const [name, code] of named(operation, 'STATUS_')) expect(code, name).toBeLessThan(operation.KEPT_FILLED);
    const flags = [operation.KEPT_FILLED, operation.KEPT_ANSWERED];
    unique(flags);
    for (const flag of flags) expect(powerOfTwo(flag) && flag < 2 ** operation.KEPT_LENGTH_SHIFT).toBe(true);
  });

  test('the operations on one key are those up to OP_LAST_POINT, the reads first', () => {
    const points = ['GET', 'HAS', 'PUT', 'INSERT', 'UPDATE', 'DELETE', 'COMPARE_AND_SET', 'ADD'].map(
      (name) => `OP_${name}`,
    );
    const low = named(operation, 'OP_').filter(
      ([name, code]) => name !== 'OP_LAST_POINT' && code <= operation.OP_LAST_POINT,
    );
    low.sort((a, b) => a[1] - b[1]);
    expect(low.map(([name]) => name)).toEqual(points);
    expect(low.map(([, code]) => code)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    // TRUE and FALSE are the answers; everything above is settled otherwise.
    expect([operation.STATUS_FALSE, operation.STATUS_TRUE]).toEqual([0, 1]);
  });

  test('the fields of a reply, of a deferral list, and of a run of replies', () => {
    disjoint('reply', 0, operation.REPLY_PAYLOAD, [
      ['sequence', operation.REPLY_SEQUENCE, 4],
      ['status', operation.REPLY_STATUS, 4],
    ]);
    expect(operation.REPLY_PAYLOAD % 8).toBe(0);
    expect(memory.MAX_VALUE_SIZE).toBeLessThan(2 ** (32 - operation.REPLY_LENGTH_SHIFT));
    const wide = ['DEFERRAL_REFUSED', 'DEFERRAL_DEFERRED'];
    const fields = named(operation, 'DEFERRAL_').filter(([name]) => name !== 'DEFERRAL_RECORDS');
    expect(fields.length).toBe(7);
    disjoint(
      'deferral list',
      0,
      operation.DEFERRAL_RECORDS,
      fields.map(([name, at]) => [name, at, wide.includes(name) ? 8 : 4]),
    );
    expect(operation.DEFERRAL_RECORDS % operation.SLOT).toBe(0);
    disjoint('run', 0, operation.REPLY_RUN_SIZE, [
      ['client', operation.REPLY_RUN_CLIENT, 4],
      ['start', operation.REPLY_RUN_START, 4],
      ['end', operation.REPLY_RUN_END, 4],
    ]);
  });
});

describe('the memory of the streams', () => {
  const words = (fields: [string, number][]): Field[] => fields.map(([name, at]) => [name, at, 4]);

  test('header, lock, numbers, rings: one behind the other', () => {
    const fields = named(streams, 'STREAMS_').filter(([name]) => !['STREAMS_MAGIC', 'STREAMS_HEADER'].includes(name));
    const header: Field[] = [...words(fields), ...words(named(streams, 'CUT_'))];
    header.push(['generations', streams.GENERATIONS, 4 * streams.MAX_REPLICAS]);
    disjoint('header', streams.STREAMS_HEADER, streams.MULTICAST_LOCK, header);
    disjoint('multicast', streams.MULTICAST_LOCK, streams.RINGS, [
      ['lock', streams.MULTICAST_LOCK, 4],
      ['number', streams.MULTICAST_NUMBER, 4],
      ['claims', streams.MULTICAST_CLAIMS, operation.MAX_GROUPS * streams.MULTICAST_CLAIM_SIZE],
      ['manifest count', streams.MANIFEST_COUNT, 4],
      ['manifest', streams.MANIFEST, streams.MANIFEST_MOST * streams.MANIFEST_ENTRY],
    ]);
    expect(named(streams, 'MANIFEST').length).toBe(5);
    // A group's number and the flags beside it share no bit.
    expect(operation.MAX_GROUPS).toBeLessThan(streams.MANIFEST_RETRY);
    expect(operation.MAX_GROUPS).toBeLessThan(streams.CLAIM_MADE);
    unique([streams.CLAIM_MADE, streams.CLAIM_PUBLISHED]);
    for (const flag of [streams.CLAIM_MADE, streams.CLAIM_PUBLISHED, streams.MANIFEST_RETRY])
      expect(powerOfTwo(flag)).toBe(true);
    expect(named(streams, 'MULTICAST_').length).toBe(4);
    // A lock's claim looks like a client's: group, position, slots.
    const announced = [streams.CLIENT_CLAIM_GROUP, streams.CLIENT_CLAIM_POSITION, streams.CLIENT_CLAIM_SLOTS];
    expect(announced.map((at) => at - streams.CLIENT_CLAIM_GROUP)).toEqual([0, 4, 8]);
    expect(streams.MULTICAST_CLAIM_SIZE).toBe(12);
    // The state and the home replica's epoch are read all the time; what counts events stands on other lines.
    const line = (at: number) => Math.floor(at / bits.CACHE_LINE);
    for (const counter of [
      streams.STREAMS_LOSSES,
      streams.STREAMS_RESENT,
      streams.STREAMS_COMPARED,
      streams.CUT_NUMBER,
    ])
      for (const hot of [streams.STREAMS_STATE, streams.STREAMS_EPOCH]) expect(line(counter)).not.toBe(line(hot));
    expect(streams.STREAMS_HEADER).toBeGreaterThanOrEqual(64);
    expect(streams.RINGS % bits.CACHE_LINE).toBe(0);
    expect(streams.STREAMS_MAGIC).not.toBe(memory.TREE_MAGIC);
  });

  test('rings, executors, clients', () => {
    disjoint('ring', 0, streams.RING_CURSORS + streams.MAX_REPLICAS * 64, words(named(streams, 'RING_')));
    const offsets = [
      'SIGNAL',
      'PARKED',
      'STANDING',
      'AREA',
      'RELEASED',
      'STATE',
      'DIGEST_NUMBER',
      'DIGEST_LOW',
      'DIGEST_HIGH',
      'DIGEST_COUNT',
      'COMPARE_NUMBER',
      'COMPARE_LOW',
      'COMPARE_HIGH',
      'COMPARE_COUNT',
      'BEAT',
      'KEPT',
      'TREE_THREAD',
    ];
    const executor: Field[] = words(named(streams, 'EXECUTOR_').filter(([name]) => offsets.includes(name.slice(9))));
    expect(executor.length).toBe(offsets.length);
    executor.push(['counters', streams.EXECUTOR_COUNTERS, 8 * streams.COUNTERS]);
    disjoint('executor', 0, streams.EXECUTOR_SIZE, executor);
    expect(streams.EXECUTOR_SIZE % bits.CACHE_LINE).toBe(0);
    // All words of an executor are here: its states are codes.
    const executorStates = ['STARTING', 'RUNNING', 'STOPPED', 'COUNTERS', 'SIZE'];
    expect(named(streams, 'EXECUTOR_').length).toBe(offsets.length + executorStates.length);
    // The fields of a digest stand side by side: number, low, high, count.
    for (const [number, ...rest] of [
      [
        streams.EXECUTOR_DIGEST_NUMBER,
        streams.EXECUTOR_DIGEST_LOW,
        streams.EXECUTOR_DIGEST_HIGH,
        streams.EXECUTOR_DIGEST_COUNT,
      ],
      [
        streams.EXECUTOR_COMPARE_NUMBER,
        streams.EXECUTOR_COMPARE_LOW,
        streams.EXECUTOR_COMPARE_HIGH,
        streams.EXECUTOR_COMPARE_COUNT,
      ],
    ]) {
      expect(rest).toEqual([number + 4, number + 8, number + 12]);
    }
    const clientStates = ['CLIENT_FREE', 'CLIENT_USED', 'CLIENT_LEAVING'];
    disjoint(
      'client',
      0,
      streams.CLIENT_WRITTEN + 64,
      words([
        ...named(streams, 'CLIENT_').filter(([name]) => !clientStates.includes(name)),
        // The first word of two: a byte for each replica.
        ['CLIENT_TREE_THREADS, the second', streams.CLIENT_TREE_THREADS + 4],
      ]),
    );
    expect(streams.MAX_REPLICAS).toBe(8);
    expect(memory.MAX_THREADS, 'a thread id fits into such a byte').toBeLessThanOrEqual(256);
    expect(streams.CLIENT_WRITTEN % bits.CACHE_LINE).toBe(0);
    const counters = named(streams, 'COUNTER_').map(([, index]) => index);
    unique(counters);
    expect(Math.max(...counters)).toBeLessThan(streams.COUNTERS);
  });

  test('what replicas of execute-verify tell each other', () => {
    const places: Field[] = [
      ['made', streams.VERIFY_MADE, 4],
      ['taken', streams.VERIFY_TAKEN, streams.MAX_REPLICAS * 64],
      ['cuts', streams.VERIFY_CUTS, 4 * streams.VERIFY_PLACES],
    ];
    disjoint('verify', 0, streams.VERIFY_TOKENS, places);
    const token: Field[] = [
      ['number', streams.TOKEN_NUMBER, 4],
      ['state', streams.TOKEN_STATE, 8],
      ['answers', streams.TOKEN_ANSWERS, 8],
    ];
    disjoint('token', 0, streams.TOKEN_SIZE, token);
    expect(Math.log2(streams.VERIFY_PLACES) % 1).toBe(0);
  });

  test('what watchers and replicas share', () => {
    disjoint('watch', 0, watch.WATCH_TAGS, [
      ...words(
        named(watch, 'WATCH_').filter(
          ([name]) =>
            !['WATCH_PROGRESS', 'WATCH_PROGRESS_SIZE', 'WATCH_SWEPT', 'WATCH_TAGS', 'WATCH_TAG_RINGS'].includes(name),
        ),
      ),
      ['watchers', watch.WATCHERS, watch.MAX_WATCHERS * watch.WATCHER_SIZE],
      ['progress', watch.WATCH_PROGRESS, streams.MAX_REPLICAS * watch.WATCH_PROGRESS_SIZE],
      ['swept', watch.WATCH_SWEPT, 4 * operation.MAX_GROUPS],
    ]);
    expect(watch.MAX_WATCHERS, 'a bit each').toBe(32);
    expect(watch.WATCH_PROGRESS_SIZE).toBe(4 * operation.MAX_GROUPS);
    expect(watch.WATCHER_SIZE % bits.CACHE_LINE).toBe(0);
    disjoint(
      'watcher',
      0,
      watch.WATCHER_SIZE,
      words(named(watch, 'WATCHER_').filter(([name]) => name !== 'WATCHER_SIZE')),
    );
    const kinds = ['CHANGE_PUT', 'CHANGE_DELETE'];
    disjoint(
      'change',
      0,
      watch.CHANGE_KEY + 8,
      words(named(watch, 'CHANGE_').filter(([name]) => !kinds.includes(name))),
    );
    expect(watch.CHANGE_KEY % 8).toBe(0);
    for (const position of [watch.WATCH_TAGS, watch.WATCHERS, watch.WATCH_PROGRESS]) expect(position % 64).toBe(0);
  });

  test('states and failures are unique', () => {
    unique(named(streams, 'STATE_').map(([, code]) => code));
    unique(named(streams, 'FAILURE_').map(([, code]) => code));
    unique([streams.EXECUTOR_STARTING, streams.EXECUTOR_RUNNING, streams.EXECUTOR_STOPPED]);
    unique([0, streams.READ_STANDS, streams.READ_OVER]);
    unique([streams.CLIENT_FREE, streams.CLIENT_USED, streams.CLIENT_LEAVING]);
    // Commands are taken in the states from OPEN to READ_ONLY, which is asked as one comparison.
    expect([
      streams.STATE_STARTING,
      streams.STATE_OPEN,
      streams.STATE_READ_ONLY,
      streams.STATE_CLOSING,
      streams.STATE_FAILED,
    ]).toEqual([0, 1, 2, 3, 4]);
    expect(streams.MAX_REPLICAS).toBeLessThanOrEqual(32);
  });
});

describe('shapeOf', () => {
  const { CACHE_LINE } = bits;
  const STRIDES = [4, 8, 12, 16, 24, 64, 132, 256, 508, 512];
  const OPTIONS: readonly (readonly [nodeSize: number | undefined, fanout: number | undefined])[] = [
    [undefined, undefined],
    ...[4, 5, 6, 7, 8, 9, 15, 16, 17, 63, 64, 100, 255, 1000, 4095, 4096].map((fanout) => [undefined, fanout] as const),
    ...[64, 128, 192, 256, 320, 512, 1024, 2048, 2112, 4096, 8192, 65536].map(
      (nodeSize) => [nodeSize, undefined] as const,
    ),
    ...[256, 4096, 65536].flatMap((nodeSize) => [4, 9, 64, 4096].map((fanout) => [nodeSize, fanout] as const)),
  ];

  for (const key of KEY_TYPES) {
    test(`every node holds what its shape promises, and can split and merge, ${key} keys`, () => {
      const keyBytes = key === 'u32' || key === 'i32' ? 4 : 8;
      let shapes = 0;
      for (const stride of STRIDES) {
        for (const [nodeSize, fanout] of OPTIONS) {
          const what = `stride ${stride}, nodeSize ${nodeSize}, fanout ${fanout}`;
          const need = (capacity: number, each: number, more: number) =>
            node.NODE_KEYS + Math.ceil((capacity * keyBytes) / 16) * 16 + capacity * each + more;
          if (nodeSize !== undefined && Math.max(need(4, stride, 0), need(3, 4, 4)) > nodeSize) {
            refusal('ERR_OPTION', () => shapeOf(keyCode(key), stride, nodeSize, fanout));
            continue;
          }
          shapes++;
          const shape = shapeOf(keyCode(key), stride, nodeSize, fanout);
          for (const [name, value] of Object.entries(shape))
            expect(Number.isInteger(value), `${what}: ${name}`).toBe(true);
          const { leafCapacity, branchCapacity, leafMinimum, branchMinimum, leafValues, branchChildren } = shape;
          expect(shape.nodeSize % CACHE_LINE, what).toBe(0);
          expect(shape.nodeSize, what).toBe(nodeSize ?? shape.nodeSize);
          // Keys, padded to whole vectors, then values or children, inside the node.
          expect(leafValues, what).toBeGreaterThanOrEqual(node.NODE_KEYS + leafCapacity * keyBytes);
          expect(branchChildren, what).toBeGreaterThanOrEqual(node.NODE_KEYS + branchCapacity * keyBytes);
          expect([leafValues % 16, branchChildren % 16], what).toEqual([0, 0]);
          expect(leafValues + leafCapacity * stride, what).toBeLessThanOrEqual(shape.nodeSize);
          expect(branchChildren + (branchCapacity + 1) * 4, what).toBeLessThanOrEqual(shape.nodeSize);
          // As many as fit, or as were asked for.
          const most = fanout ?? node.MAX_FANOUT;
          expect(leafCapacity === most || need(leafCapacity + 1, stride, 0) > shape.nodeSize, what).toBe(true);
          expect(branchCapacity === most - 1 || need(branchCapacity + 1, 4, 4) > shape.nodeSize, what).toBe(true);
          if (fanout !== undefined && nodeSize === undefined) {
            expect([leafCapacity, branchCapacity], what).toEqual([fanout, fanout - 1]);
          }
          expect(leafCapacity, what).toBeGreaterThanOrEqual(4);
          expect(branchCapacity, what).toBeGreaterThanOrEqual(3);
          // A full node splits into two that are not below the minimum, at any place where a split cuts.
          expect(leafMinimum, what).toBeGreaterThanOrEqual(1);
          expect(branchMinimum, what).toBeGreaterThanOrEqual(1);
          expect(leafCapacity >> 1, what).toBeGreaterThanOrEqual(leafMinimum);
          expect(branchCapacity - 1 - (branchCapacity >> 1), what).toBeGreaterThanOrEqual(branchMinimum);
          expect(leafCapacity - leafMinimum, what).toBeGreaterThanOrEqual(leafMinimum);
          expect(branchCapacity - 1 - branchMinimum, what).toBeGreaterThanOrEqual(branchMinimum);
          // Two nodes at their minimum merge into one (branches take the separator between them along).
          expect(2 * leafMinimum, what).toBeLessThanOrEqual(leafCapacity);
          expect(2 * branchMinimum + 1, what).toBeLessThanOrEqual(branchCapacity);
        }
      }
      expect(shapes).toBeGreaterThan(200);
    });
  }

  test('a node of the default size holds at least 16 entries, and more of small ones', () => {
    expect(shapeOf(keyCode('f64'), 8).nodeSize).toBe(1024);
    for (const stride of STRIDES) expect(shapeOf(keyCode('f64'), stride).leafCapacity).toBeGreaterThanOrEqual(16);
  });

  test('the shape in a tree is the one derived', () => {
    const name = 'shape in use';
    return seeded(name, (random) => {
      for (const key of KEY_TYPES) {
        const kind = random.pick(VALUES);
        const tree = makeTree(key, kind.type as FixedValueType, { fanout: 6 });
        const stride = kind.name === 'f64' || kind.name === 'i64' ? 8 : (sizeOf(kind.name) + 3) & ~3;
        const shape = shapeOf(keyCode(key as FixedKeyType), stride, undefined, 6);
        const keys = Array.from({ length: shape.leafCapacity + 1 }, (_, i) =>
          key.endsWith('64') && key !== 'f64' ? BigInt(i) : i,
        );
        const entries = keys.map((k): Entry => [k, kind.random(random)]);
        for (const [k, value] of entries.slice(0, -1)) tree.put(k, value);
        expect(tree.stats(), 'a full leaf').toMatchObject({ leaves: 1, fill: 1, splits: 0 });
        tree.put(...entries[entries.length - 1]);
        expect(tree.stats(), 'one more').toMatchObject({ leaves: 2, branches: 1, splits: 1 });
        expect(tree.stats().bytesPerEntry).toBeCloseTo((3 * shape.nodeSize) / entries.length);
        agreeOnAll('entries', tree, entries);
      }
    })();
  });
});

/** Bytes of a kind by its name: 'u32', 'record of 13'. */
function sizeOf(name: string): number {
  return name.startsWith('record') ? Number(name.slice(10)) : Number(name.slice(1)) / 8;
}

describe('pagesOf', () => {
  test('rounds bytes up to pages, and takes units of 1024', () => {
    const cases: readonly (readonly [number | string, number])[] = [
      [2 ** 20, 16],
      [2 ** 20 + 1, 17],
      ['1MB', 16],
      ['1.5MB', 24],
      ['2048 kb', 32],
      ['1048576B', 16],
      ['1GB', 16384],
      ['4GB', bits.MAX_PAGES],
      [2 ** 32, bits.MAX_PAGES],
    ];
    for (const [option, pages] of cases) expect(pagesOf(option), String(option)).toBe(pages);
  });
});
