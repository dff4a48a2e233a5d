/** `sabtree run` as a user calls it: a process of its own, its exit code, and what it prints. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { firstDifference } from '../dist/cli/oracle.js';
import { InputError, parseRanges } from '../dist/cli/ranges.js';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
let folder = '';
let csv = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sabtree-cli-'));
  csv = join(folder, 'ranges.csv');
  const rows = Array.from(
    { length: 3000 },
    (_, i) => `${i * 1000 + 16777216},${i * 1000 + 16777216 + 899},${i % 2 === 0 ? 'AU' : 'NZ'}`,
  );
  writeFileSync(csv, `start,end,country\n${rows.join('\n')}\n`);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the command line to its end. */
function sabtree(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { cwd: folder, timeout: 45_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err });
    });
  });
}

describe('sabtree run', () => {
  for (const [model, executors, replicas] of [
    ['smr', 1, 1],
    ['psmr', 2, 2],
    ['opt-psmr', 2, 2],
    ['opt-psmr', 3, 3],
  ] as const) {
    it(`${model}, ${executors} x ${replicas}: serves, and both checks hold`, async () => {
      const { code, out, err } = await sabtree(
        ...['run', csv, '--json', '--seconds', '0.5', '--model', model],
        ...['--executors', String(executors), '--replicas', String(replicas), '--clients', '3', '--seed', '5'],
      );
      expect(err).not.toMatch(/Error/);
      expect(code).toBe(0);
      const result = JSON.parse(out.trimEnd().split('\n').at(-1) as string);
      expect(result).toMatchObject({
        model,
        executors,
        replicas,
        clients: 3,
        replicasEqual: true,
        oracleEqual: true,
        differences: [],
      });
      expect(result.commands).toBeGreaterThan(0);
      expect(result.commands % 64).toBe(0);
      expect(result.commandsPerSecond).toBeCloseTo(result.commands / result.seconds, 3);
      expect(result.lookups).toBeGreaterThan(result.commands);
      expect(result.latencyMs.p50).toBeGreaterThan(0);
      expect(result.latencyMs.p99).toBeGreaterThanOrEqual(result.latencyMs.p50);
      expect(result.latencyMs.p999).toBeGreaterThanOrEqual(result.latencyMs.p99);
      expect(result.entries).toBeGreaterThan(1000);
      expect(result.bytesPerEntry).toBeGreaterThan(12);
      expect(result.load.rows).toBe(3000);
      for (const counter of ['refused', 'deferred', 'retried', 'syncPoints'])
        expect(result[counter]).toBeGreaterThanOrEqual(0);
      if (model === 'psmr') expect(result.syncPoints).toBeGreaterThan(0);
    });
  }

  it('prints a table without --json', async () => {
    const { code, out } = await sabtree('run', csv, '--seconds', '0.2');
    expect(code).toBe(0);
    for (const line of ['commands per second', 'p99.9', 'sync points', 'memory per entry', 'replicas equal'])
      expect(out).toContain(line);
  });

  it.each([
    [['run', '--model', 'paxos'], 'smr, psmr, opt-psmr'],
    [['run', '--executors', '0'], '--executors takes an integer from 1 to 32'],
    [['run', '--replicas', '9'], '--replicas takes an integer from 1 to 8'],
    [['run', '--clients', 'x'], '--clients takes an integer'],
    [['run', '--seconds', '-1'], '--seconds'],
    [['run', '--nonsense'], 'nonsense'],
    [['walk'], 'unknown command'],
    [['run', 'missing.csv'], 'cannot read missing.csv'],
    [['run', 'a.csv', 'b.csv'], 'one file'],
  ])('%j is refused with exit code 2', async (args, message) => {
    const { code, err, out } = await sabtree(...args);
    expect(code).toBe(2);
    expect(err).toContain(message);
    expect(err).not.toContain('    at ');
    expect(out).toBe('');
  });

  it('a broken CSV names its line', async () => {
    writeFileSync(join(folder, 'broken.csv'), '1,2,AU\n3,x,AU\n');
    const { code, err } = await sabtree('run', 'broken.csv');
    expect(code).toBe(2);
    expect(err).toContain('broken.csv: line 2');
  });

  it('--help and --version', async () => {
    expect((await sabtree('--help')).out).toContain('--executors');
    expect((await sabtree('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('the input', () => {
  it('takes numbers and dotted addresses, a header, and rows in any order', () => {
    const ranges = parseRanges('first,last,cc\r\n1.0.1.0,1.0.3.255,CN\n16777216,16777471,AU\n');
    expect([...ranges.starts]).toEqual([16777216, 16777472]);
    expect([...ranges.ends]).toEqual([16777471, 16778239]);
    expect(ranges.countries).toEqual(['AU', 'CN']);
  });

  it.each([
    ['', 'no rows'],
    ['1,2,AU\n1.2.3,4,AU', 'line 2'],
    ['1,2,AUS', 'line 1'],
    ['5,2,AU', 'line 1'],
    ['1,5,AU\n4,9,AU', 'overlaps'],
    ['1,4294967296,AU\n1,2,AU\n3,x,AU', 'line 3'],
    ['256.0.0.1,256.0.0.2,AU', 'no rows'],
  ])('%j is refused', (text, message) => {
    expect(() => parseRanges(text)).toThrow(InputError);
    expect(() => parseRanges(text)).toThrow(message);
  });
});

describe('the oracle would notice', () => {
  const content = new Map([
    [1, { end: 2, country: 'AU' }],
    [5, { end: 6, country: 'NZ' }],
  ]);

  it.each<[string, [number, { end: number; country: string }][], string | undefined]>([
    [
      'equal',
      [
        [1, { end: 2, country: 'AU' }],
        [5, { end: 6, country: 'NZ' }],
      ],
      undefined,
    ],
    ['a missing entry', [[1, { end: 2, country: 'AU' }]], 'key 5 is missing'],
    [
      'one too many',
      [
        [1, { end: 2, country: 'AU' }],
        [3, { end: 3, country: 'AU' }],
        [5, { end: 6, country: 'NZ' }],
      ],
      'key 3 is there',
    ],
    [
      'a wrong value',
      [
        [1, { end: 2, country: 'AU' }],
        [5, { end: 6, country: 'AU' }],
      ],
      'key 5 holds',
    ],
    [
      'a wrong end',
      [
        [1, { end: 3, country: 'AU' }],
        [5, { end: 6, country: 'NZ' }],
      ],
      'key 1 holds',
    ],
  ])('%s', (_, entries, message) => {
    const difference = firstDifference(entries, content);
    if (message === undefined) expect(difference).toBeUndefined();
    else expect(difference).toContain(message);
  });
});
