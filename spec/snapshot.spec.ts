/** Snapshots: what is in them, and what becomes of them when they are damaged. */
import { createReadStream, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import * as bin from 'typed-binary';
import { describe, expect, it } from 'vitest';
import { type FixedKeyType, type ModelName, open, SabtreeError, SharedTree, type StoreOptions } from '../dist/index.js';
import { crc32c } from '../dist/workers/durable/crc32c.js';
import { MemorySource } from '../dist/workers/durable/files.js';
import { FRAME_SNAPSHOT, readFrame, textFrame, textOf } from '../dist/workers/durable/frames.js';
import { SnapshotReader } from '../dist/workers/durable/snapshot.js';
import { folder } from './support/durable.ts';
import { seeded } from './support/random.ts';
import {
  type AnyStore,
  agreeOnReplicas,
  answer,
  Commands,
  codeOf,
  inTime,
  oracleOf,
  until,
  withStore,
} from './support/stores.ts';
import { agree } from './support/trees.ts';
import { type AnyKey, KEY_TYPES, VALUES } from './support/values.ts';

/** Fills a store with random commands; what it holds then. */
async function fill(store: AnyStore, commands: Commands, n: number): Promise<(readonly [AnyKey, unknown])[]> {
  const oracle = oracleOf(commands.values);
  const all = Array.from({ length: n }, () => commands.next());
  await store.batch(all as never);
  for (const command of all) answer(oracle, command);
  return oracle.entries;
}

/** All bytes of a file, aligned. */
function bytesOf(file: string): Uint8Array {
  return new Uint8Array(readFileSync(file));
}

/** Reads all of a snapshot in memory; its entries. */
function readAll(bytes: Uint8Array): number {
  let entries = 0;
  for (const { count } of new SnapshotReader(new MemorySource(bytes), undefined).pieces()) entries += count;
  return entries;
}

describe('crc32c', () => {
  it('is that of the books, from any place and in any pieces', () => {
    const text = new TextEncoder().encode('123456789');
    expect(crc32c(text)).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7919) >>> 3);
    for (let from = 0; from < 9; from++) {
      const whole = crc32c(bytes.subarray(from));
      expect(crc32c(bytes.slice(from)), 'unaligned').toBe(whole);
      for (const cut of [from, from + 1, from + 8, from + 13, 999]) {
        expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(from, cut)))).toBe(whole);
      }
    }
  });
});

describe('a snapshot holds the content, whatever the types', () => {
  for (const [i, key] of KEY_TYPES.entries()) {
    // All kinds of values take their turn.
    const kinds = VALUES.filter((_, n) => n % KEY_TYPES.length === i);
    it(
      `${key} keys, values ${kinds.map(({ name }) => name).join(', ')}, into another model`,
      seeded(`snapshot ${key}`, async (random) => {
        const path = folder('snapshot');
        for (const values of [...kinds, random.pick(VALUES)]) {
          const options = { key, value: values.type } as Partial<StoreOptions>;
          const file = join(path, `${values.name}.snapshot`);
          const commands = new Commands(random, key as FixedKeyType, values, 120);
          let entries: (readonly [AnyKey, unknown])[] = [];
          await withStore({ ...options, model: 'smr', replicas: 1 }, async (store) => {
            entries = await fill(store, commands, 400);
            const info = await store.snapshot(file);
            expect(info).toMatchObject({ format: 1, key, entries: entries.length, position: undefined });
            expect(info.digest).toBe(store.tree.digest());
          });
          // No threads: the quickest way to look at it.
          await withStore({ ...options, model: 'direct', replicas: 1, restore: file, fanout: 8 }, async (store) => {
            expect([...store.tree.range()]).toEqual(entries);
            expect(store.tree.check()).toMatchObject({ entries: entries.length, quiet: true });
          });
        }
      }),
    );
  }

  it('an empty store', async () => {
    const file = join(folder('snapshot'), 'empty');
    await withStore({ replicas: 2 }, async (store) => {
      expect(await store.snapshot(pathToFileURL(file))).toMatchObject({ entries: 0, digest: 0n });
    });
    await withStore({ restore: pathToFileURL(file) }, async (store) => {
      await agreeOnReplicas(store, []);
      await store.put(1, 2);
      await agreeOnReplicas(store, [[1, 2]]);
    });
  });
});

describe('snapshots and streams', () => {
  it('to a slow writable of Node.js and one of the web, and back from bytes and from a stream', async () => {
    const path = folder('snapshot');
    const keys = Uint32Array.from({ length: 200_000 }, (_, i) => i * 3);
    await withStore({ replicas: 2, memory: '64MB' }, async (store) => {
      await store.putMany(keys, Float64Array.from(keys));
      const file = join(path, 'file');
      await store.snapshot(file);
      const wanted = bytesOf(file);
      const chunks: Uint8Array[] = [];
      let under = 0;
      const slow = new Writable({
        highWaterMark: 1,
        write(chunk, _encoding, done) {
          expect(++under, 'one at a time').toBe(1);
          chunks.push(new Uint8Array(chunk));
          setImmediate(() => {
            under--;
            done();
          });
        },
      });
      // Commands go on meanwhile.
      const [info] = await Promise.all([store.snapshot(slow), store.put(1, 7)]);
      expect(chunks.length).toBeGreaterThan(1);
      expect(slow.writableEnded, 'the caller ends it').toBe(false);
      const parts: Uint8Array[] = [];
      await store.snapshot(new WritableStream<Uint8Array>({ write: (chunk) => void parts.push(chunk) }));
      const join2 = (all: Uint8Array[]) => new Uint8Array(Buffer.concat(all));
      expect(join2(chunks).length).toBeGreaterThanOrEqual(wanted.length - 256);
      expect(readAll(join2(chunks))).toBe(info.entries);
      expect(readAll(join2(parts))).toBe(200_001);
      const digest = store.tree.digest();
      await withStore({ restore: join2(parts), memory: '64MB' }, (restored) =>
        expect(restored.tree.digest()).toBe(digest),
      );
    });
    await withStore(
      { restore: createReadStream(join(path, 'file')), memory: '64MB', replicas: 2 },
      async (restored) => {
        expect(restored.tree.size).toBe(200_000);
        expect(await restored.get(3)).toBe(3);
      },
    );
  });

  it('a stream that fails, fails the snapshot and nothing else', async () => {
    await withStore({ replicas: 1 }, async (store) => {
      await store.put(1, 1);
      // Nobody listens to its 'error': that would end the process.
      const broken = new Writable({
        write(_chunk, _encoding, done) {
          done(new Error('no more room'));
        },
      });
      const event = new Promise((resolve) => broken.prependListener('close', () => resolve(broken.errored)));
      await expect(store.snapshot(broken)).rejects.toThrow('no more room');
      expect(await inTime('its end', event)).toMatchObject({ message: 'no more room' });
      await expect(store.snapshot(broken), 'it is destroyed').rejects.toMatchObject({ code: 'ERR_STREAM_DESTROYED' });
      const failing = new WritableStream<Uint8Array>({
        write() {
          throw new Error('gone');
        },
      });
      await expect(store.snapshot(failing)).rejects.toThrow('gone');
      expect(await store.get(1)).toBe(1);
      const good = new Writable({ write: (_chunk, _encoding, done) => done() });
      expect((await store.snapshot(good)).entries).toBe(1);
      expect([good.listenerCount('error'), good.listenerCount('close')], 'nothing is left at it').toEqual([0, 0]);
    });
  });

  it('nobody waits for a stream that takes nothing any more', async () => {
    // A transform that nobody reads holds its piece, and does not call back when it is destroyed.
    const unread = () => new PassThrough({ highWaterMark: 1 });
    const holds = (stream: PassThrough) => until('a piece', () => stream.readableLength > 0);
    await withStore({ replicas: 1 }, async (store) => {
      await store.put(1, 1);
      const [destroyed, left] = [unread(), unread()];
      const first = codeOf(() => store.snapshot(destroyed));
      await holds(destroyed);
      destroyed.destroy();
      expect(await inTime('the snapshot', first)).toBe('ERR_IO');
      const second = codeOf(() => store.snapshot(left));
      await holds(left);
      await store.close();
      expect(await inTime('the snapshot', second)).toBe('ERR_CLOSED');
    });
  });
});

describe('wrong calls', () => {
  it('targets that are none; a folder that is not there; a closed store; the model direct', async () => {
    const path = folder('snapshot');
    await withStore({ replicas: 1 }, async (store) => {
      for (const target of ['', 7, null, undefined, {}, new URL('http://localhost/x')]) {
        expect(await codeOf(() => store.snapshot(target as never)), String(target)).toBe('ERR_ARGUMENT');
      }
      const missing = join(path, 'no', 'such');
      try {
        await store.snapshot(missing);
        expect.unreachable();
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_IO', value: { code: 'ENOENT' } });
      }
      expect(await codeOf(() => store.snapshot(path)), 'a folder is in the way').toBe('ERR_IO');
      expect(await codeOf(() => store.replaceLog())).toBe('ERR_UNSUPPORTED');
      await store.put(1, 1);
      await store.close();
      expect(await codeOf(() => store.snapshot(join(path, 'late')))).toBe('ERR_CLOSED');
    });
    await withStore({ model: 'direct' }, async (store) => {
      expect(await codeOf(() => store.snapshot(join(path, 'direct')))).toBe('ERR_UNSUPPORTED');
    });
    expect(readdirSync(path), 'nothing is left behind').toEqual([]);
  });

  it('restore of nothing that can be restored', async () => {
    const path = folder('snapshot');
    const text = join(path, 'text');
    writeFileSync(text, 'start,end,country\n1,2,AU\n'.repeat(100));
    writeFileSync(join(path, 'empty'), '');
    const tried: [unknown, string][] = [
      [7, 'ERR_OPTION'],
      [null, 'ERR_OPTION'],
      ['', 'ERR_OPTION'],
      [new URL('http://localhost/x'), 'ERR_OPTION'],
      [
        (async function* () {
          yield 'text';
        })(),
        'ERR_OPTION',
      ],
      [join(path, 'missing'), 'ERR_IO'],
      [path, 'ERR_IO'],
      [text, 'ERR_SNAPSHOT_CORRUPT'],
      [join(path, 'empty'), 'ERR_SNAPSHOT_CORRUPT'],
      [new Uint8Array(100), 'ERR_SNAPSHOT_CORRUPT'],
    ];
    for (const [restore, code] of tried) {
      const options = { key: 'u32', value: 'f64', memory: '16MB', restore } as never;
      expect(await codeOf(() => open(options)), String(restore)).toBe(code);
    }
  });

  it('other types, another format, too little memory', async () => {
    const path = folder('snapshot');
    const file = join(path, 'snapshot');
    const Quote = bin.object({ id: bin.u32, on: bin.bool });
    const keys = Uint32Array.from({ length: 200_000 }, (_, i) => i);
    await withStore({ replicas: 1 }, async (store) => {
      await store.putMany(keys, Float64Array.from(keys));
      await store.snapshot(file);
    });
    const attempt = (options: object) =>
      codeOf(() => open({ key: 'u32', value: 'f64', restore: file, memory: '16MB', replicas: 1, ...options } as never));
    expect(await attempt({ key: 'i32' })).toBe('ERR_SCHEMA_MISMATCH');
    expect(await attempt({ key: 'u64' })).toBe('ERR_SCHEMA_MISMATCH');
    expect(await attempt({ value: 'i64' })).toBe('ERR_SCHEMA_MISMATCH');
    expect(await attempt({ value: Quote })).toBe('ERR_SCHEMA_MISMATCH');
    expect(await attempt({ memory: '2MB' })).toBe('ERR_MEMORY_EXHAUSTED');
    expect(await attempt({ memory: '2MB', model: 'direct' })).toBe('ERR_MEMORY_EXHAUSTED');
    const bytes = bytesOf(file);
    const header = readFrame(new MemorySource(bytes), 0);
    if (header === undefined) throw new Error('no header');
    const newer = textFrame(FRAME_SNAPSHOT, { ...textOf(header), format: 2 }, 0, 0);
    const changed = new Uint8Array([...newer, ...bytes.subarray(header.end)]);
    try {
      await open({ key: 'u32', value: 'f64', memory: '16MB', restore: changed });
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: 'ERR_LAYOUT_VERSION', value: 2 });
    }
  });
});

describe('values that are longer than the store takes', () => {
  const LONG = { key: 'u32', value: 'string', model: 'keyed', executors: 1 } as Partial<StoreOptions>;

  it('are refused when it is opened, from a snapshot and from a log; what was deleted again does not count', async () => {
    const path = folder('log');
    const file = join(folder('snapshot'), 'snapshot');
    const log = { path };
    await withStore({ ...LONG, replicas: 1, maxValue: 900_000, ring: 65536, log }, async (store) => {
      await store.put(1, 'x'.repeat(16_384));
      await store.put(2, 'x'.repeat(900_000));
      await store.snapshot(file);
      await store.put(3, 'y'.repeat(20_000));
    });
    const attempt = async (options: Partial<StoreOptions>) => {
      try {
        return await withStore({ ...LONG, ...options }, async (store) => (await store.getMany([1, 2, 3])).length);
      } catch (error) {
        return [(error as SabtreeError).code, (error as SabtreeError).value];
      }
    };
    expect(await attempt({ restore: file })).toEqual(['ERR_TOO_LARGE', 900_000]);
    expect(await attempt({ restore: file, maxValue: 65_536, ring: 8192 })).toEqual(['ERR_TOO_LARGE', 900_000]);
    expect(await attempt({ restore: file, maxValue: 900_000, ring: 65536 })).toBe(3);
    expect(await attempt({ restore: file, model: 'direct' })).toBe(3);
    expect(await attempt({ log })).toEqual(['ERR_TOO_LARGE', 900_000]);
    await withStore({ ...LONG, replicas: 1, maxValue: 900_000, ring: 65536, log }, (store) => store.delete(2));
    expect(await attempt({ log, maxValue: 20_000 })).toBe(3);
    expect(await attempt({ log })).toEqual(['ERR_TOO_LARGE', 20_000]);
  });
});

describe('a damaged snapshot is refused', () => {
  it(
    'any byte that changed, any end that is missing, anything behind the end',
    seeded('damage', async (random) => {
      const file = join(folder('snapshot'), 'snapshot');
      await withStore({ replicas: 1 }, async (store) => {
        for (let i = 0; i < 40; i++) await store.put(random.u32(), random.below(100));
        await store.snapshot(file);
      });
      const bytes = bytesOf(file);
      expect(readAll(bytes)).toBe(40);
      const refused = (damaged: Uint8Array, what: string) => {
        try {
          readAll(damaged);
        } catch (error) {
          if (!(error instanceof SabtreeError)) throw error;
          expect(error.code, what).toBe('ERR_SNAPSHOT_CORRUPT');
          const { offset } = error.value as { offset: number };
          expect(offset, what).toBeLessThanOrEqual(damaged.length);
          return offset;
        }
        throw new Error(`${what}: not noticed`);
      };
      for (let at = 0; at < bytes.length; at++) {
        const damaged = bytes.slice();
        damaged[at] ^= 1 << random.below(8);
        // The frame that it is in is named.
        const offset = refused(damaged, `byte ${at}`);
        expect(offset).toBeLessThanOrEqual(at);
      }
      for (let length = 0; length < bytes.length; length++) refused(bytes.slice(0, length), `${length} bytes`);
      for (const more of [1, 31, 32, 100]) {
        const longer = new Uint8Array(bytes.length + more);
        longer.set(bytes);
        expect(refused(longer, `${more} more`)).toBe(bytes.length);
      }
      // In a whole store, too: all its threads are gone behind it.
      for (const model of ['opt-psmr', 'direct'] as ModelName[]) {
        const damaged = bytes.slice();
        damaged[bytes.length - 200] ^= 4;
        expect(await codeOf(() => open({ key: 'u32', value: 'f64', memory: '16MB', model, restore: damaged }))).toBe(
          'ERR_SNAPSHOT_CORRUPT',
        );
      }
    }),
  );

  it('entries that are right by themselves, and not what was saved', async () => {
    const file = join(folder('snapshot'), 'snapshot');
    await withStore({ replicas: 1 }, async (store) => {
      await store.put(1, 1);
      await store.snapshot(file);
    });
    const bytes = bytesOf(file);
    const header = readFrame(new MemorySource(bytes), 0);
    if (header === undefined) throw new Error('no header');
    const other = textFrame(FRAME_SNAPSHOT, { ...textOf(header), digest: '00000000000000ff' }, 0, 0);
    const changed = new Uint8Array([...other, ...bytes.subarray(header.end)]);
    expect(await codeOf(() => open({ key: 'u32', value: 'f64', memory: '16MB', restore: changed }))).toBe(
      'ERR_SNAPSHOT_CORRUPT',
    );
    expect(SharedTree.create({ key: 'u32', value: 'f64', memory: '16MB' }).digest()).toBe(0n);
    agree('entries', readAll(changed), 1);
  });
});
