/** `sabtree run` as a user calls it: a process of its own, its exit code, and what it prints. */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Entry, firstDifference, inOrder } from '../dist/cli/oracle.js';
import { InputError, parseRanges } from '../dist/cli/ranges.js';
import { percentiles } from '../dist/perf/support/latencies.js';

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
      expect(err).toMatch(/^load .*^serve .*^verify /ms);
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
      expect(result.lookups).toBe(9 * result.commands);
      expect(result.hits).toBeGreaterThan(result.lookups / 4);
      expect(result.hits).toBeLessThan(result.lookups);
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
    const names = ['throughput', 'p50', 'p99', 'p99.9', 'refused', 'retries', 'sync points', 'memory per entry'];
    for (const name of [...names, 'replicas equal', 'equal to the oracle']) expect(out).toContain(name);
    // Aligned: every line is as long as the others.
    expect(
      new Set(
        out
          .trimEnd()
          .split('\n')
          .map((line) => line.length),
      ).size,
    ).toBe(1);
  });

  it.each([
    [
      ['run', '--model', 'paxos'],
      '--model takes direct, smr, pipelined, sdpe, sdpe-pairwise, execute-verify, psmr, opt-psmr, keyed; got "paxos"',
    ],
    [['run', '--executors', '0'], '--executors takes an integer from 1 to 32'],
    [['run', '--replicas', '9'], '--replicas takes an integer from 1 to 8'],
    [['run', '--clients', 'x'], '--clients takes an integer'],
    [['run', '--seconds', '-1'], '--seconds'],
    [['run', '--nonsense'], 'unknown flag --nonsense; there are --model, --executors, --replicas, --clients'],
    [['run', '--json=3'], '--json'],
    [[], 'sabtree COMMAND [options]'],
    [['walk'], 'unknown command "walk"; there are run, bench, top, inspect, chaos, kill9'],
    [['--seconds', '1', 'run'], 'a command goes first, not "--seconds"'],
    [['bench', '--nonsense'], 'unknown flag --nonsense; there are --models'],
    [['top', '--nonsense'], 'unknown flag --nonsense; there are --model'],
    [['inspect', '--nonsense'], 'unknown flag --nonsense; there are --json'],
    [['chaos', '--nonsense'], 'unknown flag --nonsense; there are --minutes'],
    [['kill9', '--nonsense'], 'unknown flag --nonsense; there are --times'],
    [['kill9', 'more'], 'unexpected argument "more"; there are --times'],
    [['kill9', '--path', join('no', 'folder')], '--path: ENOENT'],
    [['chaos', '--history', join('no', 'folder')], '--history: ENOENT'],
    [['chaos', '--minutes'], "'--minutes <value>' argument missing"],
    [['run', 'missing.csv'], 'cannot read missing.csv'],
    [['run', 'a.csv', 'b.csv'], 'one file'],
  ])('%j is refused with exit code 2', async (args, message) => {
    const { code, err, out } = await sabtree(...args);
    expect(code).toBe(2);
    expect(err).toContain(message);
    expect(err).not.toContain('    at ');
    expect(out).toBe('');
  });

  it.each([
    ['1,2,AU\n3,x,AU\n', 'broken.csv: line 2'],
    ['1,2,AU\n', '2 clients need as many rows'],
  ])('a CSV %j is refused with exit code 2', async (text, message) => {
    writeFileSync(join(folder, 'broken.csv'), text);
    const { code, err, out } = await sabtree('run', 'broken.csv');
    expect(code).toBe(2);
    expect(err).toContain(message);
    expect(out).toBe('');
  });

  it('ends cleanly when it is interrupted', async () => {
    const child = spawn(process.execPath, [main, 'run', csv, '--seconds', '60'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let err = '';
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      if (!err.includes('serve') && String(chunk).includes('serve')) child.kill('SIGINT');
      err += chunk;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(err).toMatch(/^sabtree: interrupted\n$/m);
    expect(err).not.toContain('    at ');
    expect(out).toBe('');
    expect(code).toBe(130);
  });

  it('--help of each command: its own, no line too long for a terminal', async () => {
    const overview = await sabtree('--help');
    expect(overview.code).toBe(0);
    for (const name of ['run', 'bench', 'top', 'inspect', 'chaos', 'kill9']) {
      expect(overview.out).toContain(`\n  ${name} `);
      const { code, out } = await sabtree(name, '--help');
      expect(code).toBe(0);
      expect(out.startsWith(`sabtree ${name} `)).toBe(true);
      expect(out).toMatch(/\n {2}--help +print this\n.*\nExit codes: 0 .*, 2 a wrong call/s);
      for (const line of out.split('\n')) expect(line.length, line).toBeLessThanOrEqual(100);
    }
    for (const name of ['-h', 'help']) expect((await sabtree(name)).out).toBe(overview.out);
    for (const name of ['--version', '-v', 'version']) expect((await sabtree(name)).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('the input', () => {
  it('takes numbers and dotted addresses, a header, and rows in any order', () => {
    const ranges = parseRanges('first,last,cc\r\n1.0.1.0,1.0.3.255,CN\n16777216,16777471,AU\n');
    expect([...ranges.starts]).toEqual([16777216, 16777472]);
    expect([...ranges.ends]).toEqual([16777471, 16778239]);
    expect(ranges.countries).toEqual(['AU', 'CN']);
  });

  it('keeps a first line that is a row, after a byte order mark too', () => {
    expect([...parseRanges('\ufeff"1","2","AU"\n3,4,NZ').starts]).toEqual([1, 3]);
  });

  it.each([
    ['', 'no rows'],
    ['start,end,country\n', 'no rows'],
    ['1,2,AU\n1.2.3,4,AU', 'line 2'],
    ['1,2,AU\nstart,end,country', 'line 2'],
    ['1,2,AUS', 'line 1'],
    ['1,2', 'line 1'],
    ['5,2,AU', 'line 1'],
    ['1,5,AU\n4,9,AU', 'line 2: the range overlaps that of line 1'],
    // A first row that cannot be read is no header.
    ['1,4294967296,AU\n1,2,AU', 'line 1'],
    ['256.0.0.1,256.0.0.2,AU\n1,2,AU', 'line 1'],
    ['fe80::,fe80::1,AU\n1,2,AU', 'line 1'],
    ['-1,2,AU\n1,2,AU', 'line 1'],
  ])('%j is refused', (text, message) => {
    expect(() => parseRanges(text)).toThrow(InputError);
    expect(() => parseRanges(text)).toThrow(message);
  });
});

describe('the oracle would notice', () => {
  const one: Entry = [1, { end: 2, country: 'AU' }];
  const two: Entry = [5, { end: 6, country: 'NZ' }];

  it.each<[string, Entry[], string | undefined]>([
    ['nothing, if all is equal', [one, two], undefined],
    ['a missing entry at the end', [one], 'found nothing more, expected 5 to 6 NZ'],
    ['a missing entry before', [two], 'found 5 to 6 NZ, expected 1 to 2 AU'],
    ['one too many', [one, [3, { end: 3, country: 'AU' }], two], 'found 3 to 3 AU, expected 5 to 6 NZ'],
    ['one too many at the end', [one, two, [7, { end: 7, country: 'AU' }]], 'found 7 to 7 AU, expected nothing more'],
    ['a wrong value', [one, [5, { end: 6, country: 'AU' }]], 'found 5 to 6 AU, expected 5 to 6 NZ'],
    ['a wrong end', [[1, { end: 3, country: 'AU' }], two], 'found 1 to 3 AU, expected 1 to 2 AU'],
  ])('%s', async (_, found, message) => {
    expect(await firstDifference(found, inOrder(new Map([two, one])), async () => {})).toBe(message);
  });
});

describe('percentiles', () => {
  it('are measured values, by nearest rank, over all histories', () => {
    const all = Array.from({ length: 1000 }, (_, i) => i + 1);
    const halves = [all.filter((n) => n % 2 === 0), all.filter((n) => n % 2 === 1).reverse()];
    expect(percentiles(halves.map((half) => Float64Array.from(half)))).toEqual({ p50: 500, p99: 990, p999: 999 });
    expect(percentiles([Float64Array.of(7)])).toEqual({ p50: 7, p99: 7, p999: 7 });
    expect(percentiles([])).toEqual({ p50: 0, p99: 0, p999: 0 });
  });
});
