/**
 * Bugs planted in a copy of what was built: `sabtree chaos` must fail on each of them, and pass without. A check that could
 * not fail would prove nothing.
 */
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { bundleThreads } from '../.ci/test-threads.mjs';

const ROOT = join(import.meta.dirname, '..');

/** A change of the text of one built file. */
interface Change {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const copies: string[] = [];
afterAll(() => {
  for (const copy of copies) rmSync(copy, { recursive: true, force: true });
});

const PRELOAD = '.ci/test-threads-preload.cjs';

/** A copy of dist with changes; inside node_modules, so that packages are found from there. */
async function plant(changes: readonly Change[]): Promise<string> {
  const copy = mkdtempSync(join(ROOT, 'node_modules', '.planted-'));
  copies.push(copy);
  for (const name of ['dist', 'package.json', PRELOAD]) cpSync(join(ROOT, name), join(copy, name), { recursive: true });
  for (const { file, from, to } of changes) {
    const path = join(copy, 'dist', file);
    const text = readFileSync(path, 'utf8');
    expect(text.split(from).length, `${file} has the place once: ${from}`).toBe(2);
    writeFileSync(
      path,
      text.replace(from, () => to),
    );
  }
  // Those that came along are made of what stood there before the change.
  rmSync(join(copy, 'dist/.threads'), { recursive: true });
  await bundleThreads(copy);
  return copy;
}

interface Verdict {
  readonly code: number;
  readonly lost: number;
  readonly twice: number;
  readonly wrong: number;
  readonly replicasEqual: boolean;
  readonly kills: number;
  readonly resent: number;
  readonly troubles: readonly string[];
}

function chaos(copy: string, flags: readonly string[], seed: number): Promise<Verdict> {
  const main = ['--require', join(copy, PRELOAD), join(copy, 'dist/cli/main.js')];
  const args = [...main, 'chaos', '--json', '--seed', `${seed}`, '--patience', '2', ...flags];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { timeout: 100_000, maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number(error.code);
      const line = stdout.trim().split('\n').pop() ?? '';
      if (!line.startsWith('{')) reject(new Error(`exit code ${code}, no summary:\n${stderr}`));
      else resolve({ ...JSON.parse(line), code });
    });
  });
}

const LOAD = ['--minutes', '0.07', '--round', '4', '--entries', '500', '--every', '60'];
const TWO = [...LOAD, '--replicas', '2', '--executors', '2'];

/** Replicas other than home are slow, so that a takeover that does not wait for them shows. Right, only slow. */
const SLOW: Change = {
  file: 'workers/executor.js',
  from: '            reader.copyTo(stream.bytes, 0, slots);',
  to: '            if (!this.applier.home) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);\n            reader.copyTo(stream.bytes, 0, slots);',
};

describe('without a planted bug', () => {
  it('chaos passes, also when replicas lag', async () => {
    const verdict = await chaos(await plant([SLOW]), [...TWO, '--models', 'keyed'], 11);
    expect(verdict).toMatchObject({ code: 0, lost: 0, twice: 0, wrong: 0, replicasEqual: true, troubles: [] });
    expect(verdict.kills).toBeGreaterThan(5);
    expect(verdict.resent).toBeGreaterThan(0);
  }, 120_000);
});

describe('a planted bug is caught', () => {
  it.each<[name: string, flags: readonly string[], changes: readonly Change[]]>([
    [
      'commands that come again are executed again',
      [...TWO, '--models', 'keyed'],
      [{ file: 'workers/client.js', from: 'box.u8[at + OPERATION_FLAGS] |= OPERATION_RESENT;', to: '' }],
    ],
    [
      'what is unanswered is not sent again',
      [...TWO, '--models', 'smr'],
      [
        {
          file: 'workers/client.js',
          from: 'if (!this.behind)\n            return all;',
          to: 'if (all || !all)\n            return all;',
        },
      ],
    ],
    [
      'the next replica is home at once, wherever it stands',
      [...TWO, '--models', 'keyed'],
      [
        SLOW,
        {
          file: 'workers/supervisor.js',
          from: 'Atomics.add(words, STREAMS_EPOCH >> 2, 1);\n            this.lostHomeAt',
          to: 'Atomics.store(words, STREAMS_HOME >> 2, 1 - replica);\n            Atomics.add(words, STREAMS_EPOCH >> 2, 2);\n            this.lostHomeAt',
        },
      ],
    ],
    [
      'deferred commands are dropped',
      [...TWO, '--models', 'opt-psmr'],
      [{ file: 'workers/executor.js', from: 'applier.runDeferrals(this.deferral, replies[this.executor]);', to: '' }],
    ],
    [
      'markers go into the rings without the lock',
      [...TWO, '--models', 'psmr', '--clients', '6'],
      [
        {
          file: 'workers/multicast.js',
          from: 'if (!this.roomFor(runs, this.keepFromMany) || !this.tryLock())',
          to: 'if (!this.roomFor(runs, this.keepFromMany))',
        },
      ],
    ],
    [
      'a replica is copied while it goes on',
      [...TWO, '--models', 'keyed'],
      [
        {
          file: 'workers/failover.js',
          from: 'for (;;) {\n        const copied = Atomics.load(words, CUT_COPIED >> 2)',
          to: 'for (; number < 0;) {\n        const copied = Atomics.load(words, CUT_COPIED >> 2)',
        },
        // Right by itself, only slow.
        {
          file: 'workers/rebuild.js',
          from: '    const copy = copySource(',
          to: '    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);\n    const copy = copySource(',
        },
      ],
    ],
    [
      'answers are not kept',
      [...TWO, '--models', 'smr'],
      [{ file: 'workers/applier.js', from: '            core.setKept(', to: '            void (' }],
    ],
    [
      'what a dead client had claimed is not filled',
      [...TWO, '--models', 'keyed', '--clients', '6'],
      [
        {
          file: 'workers/repair.js',
          from: "if (standing === 'open')\n        fill(ring, claim.position, claim.slots, []);",
          to: '',
        },
        // Clients that die claim slowly, or it would hardly ever happen.
        {
          file: 'workers/ring.js',
          from: '        this.write(position, records, slots);',
          to: '        if (announce !== 0 && position % 64 === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 40);\n        this.write(position, records, slots);',
        },
      ],
    ],
  ])(
    '%s',
    async (_, flags, changes) => {
      const copy = await plant(changes);
      // Whether a kill falls where it shows is chance: a few tries, each with kills of its own.
      for (const seed of [11, 12, 13, 14, 15]) {
        const { code, lost, twice, wrong, replicasEqual, troubles } = await chaos(copy, flags, seed);
        if (code === 0) continue;
        expect(code).toBe(1);
        expect(lost + twice + wrong > 0 || !replicasEqual || troubles.length > 0).toBe(true);
        return;
      }
      throw new Error('five runs did not notice the bug');
    },
    120_000,
  );
});
