/** The files of a log: what is cut off, what is refused, what replaces them, and whose they are. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import * as bin from 'typed-binary';
import { describe, expect, it, vi } from 'vitest';
import { open, SabtreeError, type Store, type StoreOptions } from '../dist/index.js';
import { commandHash } from '../dist/workers/call-record.js';
import { FileSource } from '../dist/workers/durable/files.js';
import { files } from '../dist/workers/durable/files-node.js';
import {
  FRAME_CLOSED,
  FRAME_COMMANDS,
  FRAME_SEGMENT,
  readFrame,
  sealFrame,
  textFrame,
  textOf,
} from '../dist/workers/durable/frames.js';
import { LOCK, lockDirectory } from '../dist/workers/durable/lock.js';
import { recover } from '../dist/workers/durable/recovery.js';
import { transfer } from './support/commands.mjs';
import { Disk } from './support/disk.ts';
import { contents, copyOf, folder, framesOf, locksIn, newestSegment } from './support/durable.ts';
import { Random } from './support/random.ts';
import { agreeOnReplicas, codeOf, inTime, until, withStore } from './support/stores.ts';

const SCHEMA = { key: 'u32', value: 'f64', valueSize: 8 } as const;
const SMALL = { key: 'u32', value: 'f64', memory: '16MB', replicas: 1, model: 'smr' } as const;

async function failure(act: () => Promise<unknown>): Promise<SabtreeError> {
  try {
    await act();
  } catch (error) {
    if (error instanceof SabtreeError) return error;
    throw error;
  }
  throw new Error('no error');
}

/** What stands in a log of u32 -> f64, by opening it. */
async function entriesIn(path: string, options: Partial<StoreOptions> = {}): Promise<unknown[]> {
  return withStore({ ...SMALL, ...options, log: { path } } as Partial<StoreOptions>, (store) => [
    ...store.tree.range(),
  ]);
}

describe('a torn tail is cut off', () => {
  /** A log of single puts of 0, 1, 2, ..., as a kill leaves it. */
  async function killedLog(puts: number): Promise<string> {
    const path = folder('log');
    return withStore({ ...SMALL, log: { path } } as Partial<StoreOptions>, async (store) => {
      for (let i = 0; i < puts; i++) await store.put(i, i);
      return copyOf(path);
    });
  }

  it('at every byte of the last record', async () => {
    const path = await killedLog(6);
    const segment = newestSegment(path);
    const frames = framesOf(segment);
    expect(frames.map(({ kind }) => kind)).toEqual([FRAME_SEGMENT, ...Array(6).fill(FRAME_COMMANDS)]);
    const whole = readFileSync(segment);
    const last = frames[6];
    expect(last.end).toBe(whole.length);
    for (let bytes = last.at; bytes <= last.end; bytes++) {
      writeFileSync(segment, whole.subarray(0, bytes));
      const { replayed, torn, start } = recover(files, path, SCHEMA);
      const cut = bytes < last.end;
      expect(replayed, `${bytes} bytes`).toBe(cut ? 5 : 6);
      expect(start).toMatchObject({ commands: replayed, segment: 2, previous: cut ? last.at : last.end });
      expect(torn).toEqual(
        cut && bytes > last.at ? { file: segment, offset: last.at, bytes: bytes - last.at } : undefined,
      );
      expect(readFileSync(segment).equals(whole.subarray(0, cut ? last.at : last.end))).toBe(true);
    }
    // Whatever stands in the last record's place: no later one proves that it had ever been safe.
    for (let at = last.at; at < last.end; at++) {
      const damaged = Buffer.from(whole);
      damaged[at] ^= 0x55;
      writeFileSync(segment, damaged);
      expect(recover(files, path, SCHEMA)).toMatchObject({ replayed: 5, torn: { offset: last.at } });
    }
  });

  it('by a whole store, which goes on behind it and tells', async () => {
    for (const less of [1, 40, 95]) {
      const path = await killedLog(5);
      const segment = newestSegment(path);
      const { at, end } = framesOf(segment)[5];
      truncateSync(segment, end - less);
      await withStore({ ...SMALL, replicas: 2, log: { path } } as Partial<StoreOptions>, async (store) => {
        expect(store.status().log).toMatchObject({
          replayed: 4,
          torn: { file: segment, offset: at, bytes: end - less - at },
        });
        await agreeOnReplicas(
          store,
          [0, 1, 2, 3].map((n) => [n, n] as const),
        );
        await store.put(9, 9);
      });
      expect(await entriesIn(path)).toEqual([0, 1, 2, 3, 9].map((n) => [n, n]));
    }
  });

  it('with a copy of a log in it', async () => {
    const path = folder('log');
    // At all offsets, so that one of each begins where a frame may; as they stand in another log, and earlier in this one.
    const frame = (sequence: number, safe: number) => sealFrame(new Uint8Array(32), FRAME_CLOSED, 0, sequence, safe);
    const value = new Uint8Array(64 * 65);
    for (let i = 0; i < 64; i++) value.set(i < 32 ? frame(5, 1_000_000) : frame(0, 10_000), i * 65);
    const options = { ...SMALL, key: 'u32', value: 'bytes', log: { path } } as Partial<StoreOptions>;
    const copy = await withStore(options, async (store) => {
      for (let i = 0; i < 3; i++) await store.put(i, value as never);
      return copyOf(path);
    });
    const segment = newestSegment(copy);
    const last = framesOf(segment).at(-1);
    truncateSync(segment, (last?.end ?? 0) - 33);
    const schema = { key: 'u32', value: 'blob:bytes', valueSize: 0 } as const;
    expect(recover(files, copy, schema)).toMatchObject({ replayed: 2, torn: { file: segment, offset: last?.at } });
  });

  it('a segment that was only just begun', async () => {
    const path = await killedLog(3);
    const whole = readFileSync(newestSegment(path));
    const next = join(path, 'log-0000000002');
    const header = framesOf(newestSegment(path))[0];
    for (const bytes of [0, 1, 31, 32, header.end - 1]) {
      writeFileSync(next, whole.subarray(0, bytes));
      expect(recover(files, path, SCHEMA)).toMatchObject({ replayed: 3, torn: { file: next, offset: 0, bytes } });
      expect(existsSync(next)).toBe(false);
    }
    expect((await entriesIn(path)).length).toBe(3);
  });
});

describe('damage is refused', () => {
  async function closedLog(puts: number): Promise<string> {
    const path = folder('log');
    await withStore({ ...SMALL, log: { path } } as Partial<StoreOptions>, async (store) => {
      for (let i = 0; i < puts; i++) await store.put(i, i);
    });
    return path;
  }

  const refusal = (path: string) => failure(async () => recover(files, path, SCHEMA));

  it('a changed byte anywhere before the last record, with the offset of its frame', async () => {
    const path = await closedLog(4);
    const segment = newestSegment(path);
    const frames = framesOf(segment);
    expect(frames.at(-1)?.kind).toBe(FRAME_CLOSED);
    const whole = readFileSync(segment);
    for (const { at, end } of frames.slice(0, -1)) {
      for (let byte = at; byte < end; byte++) {
        const damaged = Buffer.from(whole);
        damaged[byte] ^= 1 << (byte & 7);
        writeFileSync(segment, damaged);
        const before = contents(path);
        const error = await refusal(path);
        expect(error, `byte ${byte}`).toMatchObject({ code: 'ERR_LOG_CORRUPT', value: { file: segment, offset: at } });
        expect(contents(path), 'nothing was changed').toEqual(before);
      }
    }
    // By a whole store too; it gives the directory back.
    const error = await failure(() => open({ ...SMALL, log: { path } }));
    expect(error).toMatchObject({ code: 'ERR_LOG_CORRUPT', value: { file: segment, offset: frames.at(-2)?.at } });
    expect(readdirSync(path)).toEqual(['log-0000000001']);
    writeFileSync(segment, whole);
    expect((await entriesIn(path)).length).toBe(4);
  });

  it('records that were taken out, put in twice or put in another order', async () => {
    const path = await closedLog(4);
    const segment = newestSegment(path);
    const whole = readFileSync(segment);
    const parts = framesOf(segment).map(({ at, end }) => whole.subarray(at, end));
    for (const order of [
      [0, 1, 3, 4, 5],
      [0, 1, 2, 2, 3, 4, 5],
      [0, 1, 3, 2, 4, 5],
      [0, 2, 3, 4, 5],
      [0, 1, 2, 5],
    ]) {
      writeFileSync(segment, Buffer.concat(order.map((n) => parts[n])));
      expect(await refusal(path), order.join()).toMatchObject({ code: 'ERR_LOG_CORRUPT', value: { file: segment } });
    }
  });

  it('files that are missing, cut short or of another log', async () => {
    const path = await closedLog(3);
    for (let n = 0; n < 3; n++) {
      await withStore({ ...SMALL, log: { path } } as Partial<StoreOptions>, async (store) => {
        await store.put(100 + n, n);
        if (n === 1) await store.replaceLog();
      });
    }
    expect(readdirSync(path).sort()).toEqual(['log-0000000004', 'log-0000000005', 'snapshot-0000000004']);
    const attempt = async (change: (copy: string) => void) => {
      const copy = copyOf(path);
      change(copy);
      const error = await refusal(copy);
      return [error.code, (error.value as { file?: string }).file?.split('/').at(-1)];
    };
    expect(await attempt((copy) => rmSync(join(copy, 'snapshot-0000000004')))).toEqual([
      'ERR_LOG_CORRUPT',
      'log-0000000001',
    ]);
    expect(await attempt((copy) => rmSync(join(copy, 'log-0000000004')))).toEqual([
      'ERR_LOG_CORRUPT',
      'log-0000000004',
    ]);
    expect(await attempt((copy) => truncateSync(join(copy, 'log-0000000004'), 200))).toEqual([
      'ERR_LOG_CORRUPT',
      'log-0000000004',
    ]);
    expect(await attempt((copy) => renameSync(join(copy, 'log-0000000005'), join(copy, 'log-0000000006')))).toEqual([
      'ERR_LOG_CORRUPT',
      'log-0000000005',
    ]);
    expect(
      await attempt((copy) => {
        const file = join(copy, 'snapshot-0000000004');
        const bytes = readFileSync(file);
        bytes[40] ^= 1;
        writeFileSync(file, bytes);
      }),
    ).toEqual(['ERR_SNAPSHOT_CORRUPT', 'snapshot-0000000004']);
    const other = await closedLog(1);
    expect(
      await attempt((copy) => writeFileSync(join(copy, 'log-0000000005'), readFileSync(newestSegment(other)))),
    ).toEqual(['ERR_LOG_CORRUPT', 'log-0000000004']);
    expect((await entriesIn(path)).length).toBe(6);
  });

  it('and nothing has changed then: no torn tail is cut off, and nothing goes that a damaged snapshot covers', async () => {
    const unchanged = async (path: string, code: string) => {
      const before = contents(path);
      expect(await refusal(path)).toMatchObject({ code });
      expect(contents(path)).toEqual(before);
    };
    const path = await closedLog(3);
    await withStore({ ...SMALL, log: { path } } as Partial<StoreOptions>, (store) => store.put(9, 9));
    for (const [name, end] of [
      ['log-0000000002', 'what did not come through'],
      ['log-0000000003', ''],
    ]) {
      const copy = copyOf(path);
      appendFileSync(join(copy, name), end);
      writeFileSync(join(copy, 'snapshot.tmp'), 'of a process that was killed');
      rmSync(join(copy, 'log-0000000001'));
      await unchanged(copy, 'ERR_LOG_CORRUPT');
    }
    // As a process leaves it that was killed when it had named the snapshot.
    const named = await withStore({ ...SMALL, log: { path } } as Partial<StoreOptions>, async (store) => {
      const before = copyOf(path);
      await store.replaceLog();
      for (const name of readdirSync(path)) {
        if (!name.startsWith(LOCK)) copyFileSync(join(path, name), join(before, name));
      }
      return before;
    });
    const snapshot = join(named, 'snapshot-0000000004');
    const whole = readFileSync(snapshot);
    const { at } = framesOf(snapshot)[1];
    const damaged = Buffer.from(whole);
    damaged[at + 40] ^= 1;
    writeFileSync(snapshot, damaged);
    await unchanged(named, 'ERR_SNAPSHOT_CORRUPT');
    writeFileSync(snapshot, whole);
    recover(files, named, SCHEMA);
    expect(readdirSync(named).sort()).toEqual(['log-0000000004', 'snapshot-0000000004']);
  });

  it('other types and another format', async () => {
    const path = await closedLog(2);
    const Quote = bin.object({ id: bin.u32, on: bin.bool });
    const attempt = (options: object) => codeOf(() => open({ ...SMALL, ...options, log: { path } } as never));
    expect(await attempt({ key: 'i32' })).toBe('ERR_SCHEMA_MISMATCH');
    expect(await attempt({ value: 'i64' })).toBe('ERR_SCHEMA_MISMATCH');
    expect(await attempt({ value: Quote })).toBe('ERR_SCHEMA_MISMATCH');
    const segment = newestSegment(path);
    const source = new FileSource(files, segment);
    const header = readFrame(source, 0);
    if (header === undefined) throw new Error('no header');
    const newer = textFrame(FRAME_SEGMENT, { ...textOf(header), format: 2 }, 0, 0);
    const { end } = header;
    source.close();
    writeFileSync(segment, Buffer.concat([newer, readFileSync(segment).subarray(end)]));
    expect(await failure(() => open({ ...SMALL, log: { path } }))).toMatchObject({
      code: 'ERR_LAYOUT_VERSION',
      value: 2,
    });
  });
});

describe('the log is replaced by snapshots', () => {
  it('by itself, when there is enough of it, while commands go on', async () => {
    const path = folder('log');
    const events: string[] = [];
    let commands = 0;
    let digest = 0n;
    await withStore(
      { model: 'opt-psmr', executors: 2, replicas: 2, log: { path, fsync: 'never', snapshotEvery: 65536 } },
      async (store) => {
        store.onEvent(({ type }) => events.push(type));
        let n = 0;
        const replaced = () => events.filter((type) => type === 'log-replaced').length;
        for (; replaced() < 2 && n < 2000; n++) {
          await Promise.all(Array.from({ length: 100 }, (_, i) => store.put((n * 31 + i) % 1000, n)));
        }
        commands = n * 100;
        expect(replaced()).toBe(2);
        await until('the last snapshot', () => (store.status().log?.behind ?? 0) < 65536);
        [{ digest }] = await store.digests();
        expect(store.status().log?.commands).toBe(commands);
      },
    );
    expect(new Set(events)).toEqual(new Set(['log-replaced']));
    const names = readdirSync(path).sort();
    expect(names.filter((name) => name.startsWith('snapshot')).length).toBe(1);
    expect(names.filter((name) => name.startsWith('log')).length).toBeLessThanOrEqual(2);
    await withStore({ ...SMALL, log: { path } } as Partial<StoreOptions>, (store) => {
      expect(store.tree.digest()).toBe(digest);
      expect(store.status().log).toMatchObject({ commands });
      expect(store.status().log?.replayed).toBeLessThan(commands);
    });
  });

  it('segments do not pile up from one opening to the next', async () => {
    const path = folder('log');
    for (let n = 0; n < 18; n++) {
      await withStore({ ...SMALL, log: { path } } as Partial<StoreOptions>, async (store) => {
        await store.put(n, n);
        await until('few segments', () => readdirSync(path).filter((name) => name.startsWith('log')).length <= 16);
      });
    }
    expect(await entriesIn(path)).toEqual(Array.from({ length: 18 }, (_, n) => [n, n]));
  });

  it('what was restored goes into the log', async () => {
    const path = folder('log');
    const file = join(folder('snapshot'), 'snapshot');
    await withStore(SMALL as Partial<StoreOptions>, async (store) => {
      await store.putMany([1, 2, 3], [4, 5, 6]);
      await store.snapshot(file);
    });
    await withStore({ ...SMALL, restore: file, log: { path } } as Partial<StoreOptions>, async (store) => {
      expect(await store.count()).toBe(3);
      await store.put(7, 8);
    });
    expect(await entriesIn(path, { model: 'keyed', replicas: 2 })).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
      [7, 8],
    ]);
    expect(await codeOf(() => open({ ...SMALL, restore: file, log: { path } }))).toBe('ERR_OPTION');
    expect((await entriesIn(path)).length).toBe(4);
  });
});

describe('the directory', () => {
  it('is made with those above it, and all of their names are on the disk', () => {
    const above = folder('log');
    const synced: string[] = [];
    const sync = vi.spyOn(files, 'syncDirectory').mockImplementation((path) => void synced.push(path));
    try {
      files.makeDirectory(join(above, 'a', 'b', 'c'));
      expect(synced.sort()).toEqual([above, join(above, 'a'), join(above, 'a', 'b')]);
      files.makeDirectory(join(above, 'a', 'd'));
      expect(synced.slice(3)).toEqual([join(above, 'a')]);
      files.makeDirectory(join(above, 'a', 'd'));
      expect(synced.length, 'it was there').toBe(4);
    } finally {
      sync.mockRestore();
    }
    expect(readdirSync(join(above, 'a')).sort()).toEqual(['b', 'd']);
  });
});

describe('one store has a directory', () => {
  it('a second one is refused while the first lives, in this process and in others', async () => {
    const path = folder('log');
    await withStore({ ...SMALL, log: { path } } as Partial<StoreOptions>, async (store) => {
      await store.put(1, 1);
      const error = await failure(() => open({ ...SMALL, log: { path } }));
      expect(error).toMatchObject({ code: 'ERR_LOG_IN_USE', value: path });
      expect(error.message).toContain(String(process.pid));
      expect(await store.get(1)).toBe(1);
    });
    expect(locksIn(path)).toEqual([]);
    expect((await entriesIn(path)).length).toBe(1);
  });

  it('locks of the dead, of older lives of the machine, and without a name do not count, and go', async () => {
    const path = folder('log');
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const began = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    const { pid } = process;
    for (const owner of [
      '',
      'nonsense',
      `4194304.4194304.1.${boot}`,
      // The number is taken again, by one that began at another time; the machine was started again.
      `${pid}.${pid}.${Number(began) - 1}.${boot}`,
      `${pid}.${pid}.${began}.another-boot`,
    ]) {
      writeFileSync(join(path, `lock-${owner}`), '');
      expect(await entriesIn(path), owner).toEqual([]);
      expect(locksIn(path)).toEqual([]);
    }
    writeFileSync(join(path, `lock-${pid}.${pid}.${began}.${boot}`), '');
    expect(await codeOf(() => open({ ...SMALL, log: { path } }))).toBe('ERR_LOG_IN_USE');
    expect(locksIn(path).length).toBe(1);
  });

  it('and never two, however the calls of three that come together fall between each other', () => {
    type Others = Readonly<Record<number, () => void>>;
    /** How many have the lock, if the first one comes; `between` says who comes before which of its calls. */
    const contend = (between: (come: (owner: string, others?: Others) => void) => Others): number => {
      const disk = new Disk(new Random(1));
      let held = 0;
      const come = (owner: string, others: Others = {}) => {
        let call = 0;
        const files = new Proxy(disk, {
          get(_, name) {
            if (name === 'owner') return () => owner;
            if (name === 'ownerLives') return (text: string) => text !== 'dead';
            const act = disk[name as keyof Disk];
            if (typeof act !== 'function') return act;
            return (...args: never[]) => {
              if (name !== 'join') others[call++]?.();
              return (act as (...args: never[]) => unknown).apply(disk, args);
            };
          },
        });
        try {
          lockDirectory(files, 'log', () => {});
          held++;
        } catch (error) {
          if ((error as SabtreeError).code !== 'ERR_LOG_IN_USE') throw error;
        }
      };
      disk.create(`log/${LOCK}dead`)?.write(new TextEncoder().encode('dead'));
      come('first', between(come));
      return held;
    };
    for (let i = 0; i < 9; i++) {
      for (let j = 0; j < 9; j++) {
        const within = contend((come) => ({ [i]: () => come('second', { [j]: () => come('third') }) }));
        expect(within, `the second at ${i}, the third at ${j} of it`).toBe(1);
        if (i === j) continue;
        const behind = contend((come) => ({ [i]: () => come('second'), [j]: () => come('third') }));
        expect(behind, `the second at ${i}, the third at ${j}`).toBe(1);
      }
    }
  });

  it('an owner whose thread was terminated has it no longer', async () => {
    const path = folder('log');
    const code = `
      import { open } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
      import { parentPort, workerData } from 'node:worker_threads';
      const store = await open({ key: 'u32', value: 'f64', memory: '16MB', log: { path: workerData } });
      await store.put(1, 2);
      parentPort.postMessage('open');
      setInterval(() => {}, 1000);`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), { workerData: path });
    await inTime('the store', once(worker, 'message'));
    expect(await codeOf(() => open({ ...SMALL, log: { path } }))).toBe('ERR_LOG_IN_USE');
    await worker.terminate();
    // Its threads end with it, soon.
    let entries: unknown;
    await until('the lock is left behind', () => locksIn(path).length === 1);
    for (let tries = 0; entries === undefined && tries < 500; tries++) {
      entries = await entriesIn(path).catch((error) => {
        if ((error as SabtreeError).code !== 'ERR_LOG_IN_USE') throw error;
      });
    }
    expect(entries).toEqual([[1, 2]]);
  });
});

describe('wrong options', () => {
  it('are refused, and nothing is made', async () => {
    const path = join(folder('log'), 'log');
    const wrong: [unknown, string][] = [
      [null, 'ERR_OPTION'],
      ['path', 'ERR_OPTION'],
      [{}, 'ERR_OPTION'],
      [{ path: '' }, 'ERR_OPTION'],
      [{ path: 7 }, 'ERR_OPTION'],
      [{ path, fsync: 'sometimes' }, 'ERR_OPTION'],
      [{ path, interval: 0 }, 'ERR_OPTION'],
      [{ path, interval: '5' }, 'ERR_OPTION'],
      [{ path, snapshotEvery: -1 }, 'ERR_OPTION'],
      [{ path, snapshotEvery: 100 }, 'ERR_OPTION'],
      [{ path, snapshotEvery: 'much' }, 'ERR_OPTION'],
      [{ path, often: 1 }, 'ERR_OPTION'],
    ];
    for (const [log, code] of wrong)
      expect(await codeOf(() => open({ ...SMALL, log } as never)), JSON.stringify(log)).toBe(code);
    expect(await codeOf(() => open({ ...SMALL, model: 'direct', log: { path } }))).toBe('ERR_OPTION');
    expect(existsSync(path)).toBe(false);
    const file = join(folder('log'), 'file');
    writeFileSync(file, '');
    expect(await codeOf(() => open({ ...SMALL, log: { path: file } })), 'a file is in the way').toBe('ERR_IO');
  });
});

describe('a disk that takes no more', () => {
  it.runIf(process.platform === 'linux')(
    'the store fails, answers nothing that is not logged, and has everything that it answered',
    async () => {
      const path = folder('log');
      // No file may become larger than 40 blocks of 512 bytes; the signal that says so is ignored.
      const script = fileURLToPath(new URL('./support/full-disk.mjs', import.meta.url));
      const limited = `trap '' XFSZ; ulimit -f 40; exec "$0" "$1" "$2"`;
      const child = spawn('/bin/sh', ['-c', limited, process.execPath, script, path]);
      const { out, err } = await outputOf(child);
      expect(err).toBe('');
      const { answered, error, late, direct, status, events } = JSON.parse(out);
      expect(answered).toBeGreaterThan(50);
      expect(error.code).toBe('ERR_LOG_FAILED');
      expect(error.message).toMatch(/EFBIG/);
      expect({ late, direct, status }).toEqual({ late: 'ERR_LOG_FAILED', direct: answered - 1, status: 'failed' });
      expect(events).toEqual(['failed']);
      const entries = (await entriesIn(path)) as [number, number][];
      // What was under way then may be there or not.
      expect(entries.slice(0, answered)).toEqual(Array.from({ length: answered }, (_, n) => [n, n]));
      expect(entries.length - answered).toBeLessThanOrEqual(1);
    },
  );
});

function outputOf(child: ChildProcess): Promise<{ out: string; err: string }> {
  let out = '';
  let err = '';
  child.stdout?.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    err += chunk;
  });
  return inTime('the child', once(child, 'close')).then(() => ({ out, err }));
}

describe('sabtree inspect', () => {
  const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
  function inspect(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    return new Promise((resolve) => {
      execFile(process.execPath, [main, 'inspect', ...args], (error, out, err) => {
        resolve({ code: error === null ? 0 : Number(error.code), out, err });
      });
    });
  }

  it('shows snapshots and logs, whole and damaged', async () => {
    const path = folder('log');
    await withStore({ ...SMALL, log: { path } } as Partial<StoreOptions>, async (store) => {
      await store.put(1, 1);
      await store.replaceLog();
      await store.put(2, 2);
      await store.putAll([3, 4], [3, 4]);
      await store.delete(1);
    });
    const whole = await inspect(path, '--json');
    expect(whole.code).toBe(0);
    const [snapshot, log] = whole.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(snapshot).toMatchObject({ kind: 'snapshot', key: 'u32', value: 'f64', entries: 1, position: 1, format: 1 });
    expect(log).toMatchObject({
      ...{ kind: 'log', segment: 2, before: 1, commands: 3, end: 'closed', tornBytes: 0 },
      byName: { put: 1, putAll: 1, delete: 1 },
    });
    expect((await inspect(path)).out).toMatch(/entries .* 1 [\s\S]*putAll .* 1 [\s\S]*closed in order/);
    const segment = newestSegment(path);
    const bytes = readFileSync(segment);
    const frame = framesOf(segment)[1];
    bytes[frame.at + 50] ^= 8;
    writeFileSync(segment, bytes);
    const damaged = await inspect(segment);
    expect(damaged.code).toBe(1);
    expect(damaged.out).toMatch(new RegExp(`NO: .*offset ${frame.at}`));
    truncateSync(segment, frame.at + 50);
    expect(await inspect(segment, '--json')).toMatchObject({ code: 0 });
    expect((await inspect(segment)).out).toMatch(/50 bytes that did not come through/);
    const file = join(path, 'snapshot-0000000002');
    truncateSync(file, readFileSync(file).length - 32);
    expect(await inspect(file)).toMatchObject({ code: 1 });
  });

  it('names operations on keys that vary in length, atomic ones, and those of the user', async () => {
    const path = folder('log');
    await withStore({ ...SMALL, key: 'string', value: 'json', log: { path } } as Partial<StoreOptions>, async (any) => {
      const store = any as unknown as Store<string, unknown>;
      await store.put('a', 1);
      await store.put('b', 1);
      await store.get('a');
      await store.delete('b');
      await store.insert('c', 1);
      await store.putAll(['x', 'y'], [1, 2]);
      await store.atomic([['put', 'x', 3]]);
      await store.compareAndSetAll([['x', 3, 4]]);
    });
    const strings = await inspect(path, '--json');
    expect(strings.code).toBe(0);
    const byName = { put: 2, delete: 1, insert: 1, putAll: 1, atomic: 1, compareAndSetAll: 1 };
    expect(JSON.parse(strings.out).byName).toEqual(byName);

    const calls = folder('calls');
    const commands = new URL('./support/commands.mjs', import.meta.url).href;
    await withStore({ ...SMALL, commands, log: { path: calls } } as Partial<StoreOptions>, async (store) => {
      await store.call(transfer as never, { from: 1, to: 2, amount: 0 });
      await store.put(1, 1);
    });
    const [counted] = (await inspect(calls, '--json')).out.split('\n').map((line) => JSON.parse(line || '{}').byName);
    expect(counted).toEqual({ [`user-defined, hash ${(commandHash('transfer') >>> 0).toString(16)}`]: 1, put: 1 });
  });

  it('names what is carried out as a call, too', async () => {
    for (const options of [
      { key: 'tuple', value: 'json' },
      { key: 'u32', value: 'string' },
    ]) {
      const path = folder('log');
      const key = (n: number) => (options.key === 'tuple' ? ['key', n] : n) as never;
      await withStore({ ...SMALL, ...options, log: { path } } as Partial<StoreOptions>, async (store) => {
        await store.put(key(1), 'one' as never);
        await store.put(key(2), 'two' as never);
        await store.insert(key(3), 'three' as never);
        await store.delete(key(1));
        await store.compareAndSet(key(2), 'two' as never, 'deux' as never);
        await store.get(key(2));
        await store.putAll([key(4)], ['four' as never]);
        await store.atomic([['put', key(5), 'five' as never]]);
      });
      const { code, out } = await inspect(path, '--json');
      expect(code).toBe(0);
      const byName = { put: 2, insert: 1, delete: 1, compareAndSet: 1, putAll: 1, atomic: 1 };
      expect(JSON.parse(out)).toMatchObject({ ...options, value: `blob:${options.value}`, commands: 7, byName });
      expect((await inspect(path)).out).toContain(` ${options.key}, ${options.value} `);
    }
  });

  it('refuses wrong calls', async () => {
    expect((await inspect()).code).toBe(2);
    expect((await inspect('--what')).code).toBe(2);
    expect((await inspect(folder('empty'))).code).toBe(2);
    expect((await inspect(join(folder('log'), 'missing'))).code).toBe(1);
    expect((await inspect('--help')).code).toBe(0);
  });
});
