/** The test of kill -9, a few times, and that what it looks at would notice a loss. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { Ledger } from '../dist/cli/kill9/ledger.js';
import { after, type Step, stepsOf } from '../dist/cli/kill9/plan.js';
import { SEED, seeded } from './support/random.ts';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

function kill9(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, 'kill9', ...args], { timeout: 55_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err });
    });
  });
}

describe('sabtree kill9', () => {
  for (const [fsync, content, times] of [
    ['always', 'numbers', 4],
    ['always', 'objects', 2],
    ['never', 'objects', 2],
  ] as const) {
    it(`${content}, ${fsync}: killed ${times} times, nothing is lost`, async () => {
      const { code, out, err } = await kill9(
        '--times',
        String(times),
        '--seed',
        String(SEED >>> 1),
        '--fsync',
        fsync,
        '--content',
        content,
        '--json',
      );
      expect(err).not.toMatch(/sabtree:/);
      expect(code).toBe(0);
      expect(JSON.parse(out)).toMatchObject({ times, content, fsync, kills: times, lost: [], troubles: [] });
    });
  }

  it('refuses wrong calls', async () => {
    for (const args of [
      ['--times', '0'],
      ['--models', 'direct'],
      ['--fsync', 'maybe'],
      ['--content', 'x'],
      ['--what'],
    ]) {
      expect((await kill9(...args)).code, args.join(' ')).toBe(2);
    }
  });
});

describe('the ledger of kill9', () => {
  const life = { seed: 7, life: 3, clients: 2, window: 4 };

  /** The first operations of each client; what a store holds that carried them out. */
  function play(
    counts: readonly number[],
    skip?: (client: number, index: number, step: Step) => boolean,
  ): Map<number, number> {
    const content = new Map<number, number>();
    for (const [client, count] of counts.entries()) {
      const steps = stepsOf(life, client);
      for (let index = 0; index < count; index++) {
        const step = steps.next().value;
        if (skip?.(client, index, step)) continue;
        for (const key of step.keys) {
          const value = after(step, content.get(key));
          if (value === undefined) content.delete(key);
          else content.set(key, value);
        }
      }
    }
    return content;
  }

  /** A ledger of a new store in which so many operations of each client were answered. */
  function ledger(counts: readonly number[]): Ledger {
    const made = new Ledger(life, new Map());
    for (const [client, count] of counts.entries()) {
      for (let index = 0; index < count; index++) made.acknowledge(client, index);
    }
    return made;
  }

  it('takes what was answered, and anything that was under way', () => {
    for (const under of [0, 1, 2, 3, 4]) {
      expect(ledger([200, 100]).verify(play([200 + under, 100]))).toEqual([]);
    }
  });

  it(
    'notices a write that is missing, one that came twice, and what nobody sent',
    seeded('ledger', (random) => {
      let missed = 0;
      let twice = 0;
      for (let n = 0; n < 100; n++) {
        const lost = 190 + random.below(10);
        // A write that a later one hides is no loss; most are noticed.
        if (ledger([200, 0]).verify(play([200, 0], (client, index) => client === 0 && index === lost)).length > 0)
          missed++;
        const content = play([200, 0]);
        const key = random.pick([...content.keys()]);
        content.set(key, (content.get(key) as number) + 0.25);
        if (ledger([200, 0]).verify(content).length > 0) twice++;
      }
      expect(missed).toBeGreaterThan(40);
      expect(twice).toBeGreaterThan(60);
      const more = play([200, 100]);
      more.set(99_999, 1);
      expect(ledger([200, 100]).verify(more)).toEqual(['key 99999 came from nowhere']);
    }),
  );

  it('notices a putAll that was carried out in part', () => {
    const steps = stepsOf(life, 0);
    let index = 0;
    let step = steps.next().value;
    while (step.name !== 'putAll' || step.keys.length < 3 || index < 50) {
      step = steps.next().value;
      index++;
    }
    const content = play([index, 0]);
    // It was under way when the store was killed: none of it, or all of it.
    expect(ledger([index, 0]).verify(content)).toEqual([]);
    content.set(step.keys[0], step.value);
    expect(ledger([index, 0]).verify(content).join()).toContain(`putAll ${index}`);
    for (const key of step.keys) content.set(key, step.value);
    expect(ledger([index, 0]).verify(content)).toEqual([]);
  });

  it('notices what changed without being touched', () => {
    const made = new Ledger({ ...life, clients: 0 }, new Map([[5, 6]]));
    expect(made.verify(new Map([[5, 7]]))).toEqual(['key 5 had 6 and was not touched; it has 7']);
  });
});
