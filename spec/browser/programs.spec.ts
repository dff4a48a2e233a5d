/** What the browser tests say where there is no browser. */
import { afterEach, expect, it } from 'vitest';
import { findChromium, VARIABLE } from '../support/chromium.ts';
import { findProgram } from '../support/programs.ts';

const before = process.env[VARIABLE];

afterEach(() => {
  if (before === undefined) delete process.env[VARIABLE];
  else process.env[VARIABLE] = before;
});

it('a browser that the environment names is taken, or its absence told', () => {
  process.env[VARIABLE] = process.execPath;
  expect(findChromium()).toBe(process.execPath);
  process.env[VARIABLE] = '/nowhere/chromium';
  expect(() => findChromium()).toThrow(`${VARIABLE} names /nowhere/chromium, which is no program`);
});

it('otherwise the first of the usual places', () => {
  const places = ['/nowhere/chromium', process.execPath];
  expect(findProgram('SABTREE_NO_SUCH_VARIABLE', ['no-such-program'], places)).toBe(process.execPath);
  expect(findProgram('SABTREE_NO_SUCH_VARIABLE', ['no-such-program'], places.slice(0, 1))).toBeUndefined();
});
