/** The examples as a user runs them: a process each. What they print is compared with what a few lines without a tree find. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT, ran, succeed } from './support/package.ts';

const FOLDER = join(ROOT, 'demo', 'examples');

/** Runs an example to its end; the lines it prints. */
async function run(name: string, ...args: string[]): Promise<string[]> {
  const out = await succeed(process.execPath, [join(FOLDER, name), ...args], ROOT, 40_000);
  expect(out.endsWith('\n')).toBe(true);
  return out.trimEnd().split('\n');
}

const tested = new Set<string>();
function example(name: string, body: () => Promise<void>): void {
  tested.add(name);
  it(name, body);
}

example('rate-limiter.js', async () => {
  // Five users, three seconds, ten requests each; the last second's counters stay.
  expect(await run('rate-limiter.js')).toEqual([
    '6000 requests to 4 threads, 150 passed',
    'per user and second: at least 10, at most 10',
    'counters of past seconds dropped: 10, left: 5',
  ]);
});

example('leaderboard.js', async () => {
  const scores = new Map<number, number>();
  for (let id = 0; id < 3; id++) {
    for (let i = 0; i < 40_000; i++) {
      const player = id + 3 * ((i * 31) % 2000);
      scores.set(player, (scores.get(player) ?? 0) + ((i * 7919 + id * 13) % 97));
    }
  }
  const ranked = [...scores].sort(([a, x], [b, y]) => y - x || a - b);
  const rank = ranked.findIndex(([player]) => player === 1234);
  expect(rank).toBeGreaterThan(100);
  expect(await run('leaderboard.js')).toEqual([
    `${scores.size} players; looked at while they played: yes`,
    `the best: ${ranked
      .slice(0, 5)
      .map(([player, score]) => `${player} (${score})`)
      .join(', ')}`,
    `rank of player 1234: ${rank + 1}`,
    `around player 1234: ${ranked
      .slice(rank - 2, rank + 3)
      .map(([player]) => player)
      .join(', ')}`,
  ]);
});

example('login-store.js', async () => {
  // A login of second s expires in second s + 60: in second 100 those of the seconds 0 to 40, ten of each thread and second;
  // in second 160 the other early ones too, and none of the later ones, which were made from second 101 on.
  const early = 3 * 41 * 10;
  expect(await run('login-store.js')).toEqual([
    'logged in by 3 threads: 3000',
    'their last users, seen from here: 999, 1999, 2999',
    'with a forged cookie: nobody',
    `expired: ${early}, logged in: ${6000 - early}`,
    `expired a minute later: ${3000 - early}, logged in: 3000`,
    'a login whose time is over: nobody',
  ]);
});

example('ip-country.js', async () => {
  const csv = join(ROOT, 'node_modules/@ip-location-db/asn-country/asn-country-ipv4-num.csv');
  const rows = readFileSync(csv, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(','))
    .map(([start, end, country]) => ({ start: Number(start), end: Number(end), country }));
  const inOrder = (address: number) => rows.find(({ start, end }) => start <= address && address <= end)?.country;
  // All addresses the threads ask for, in one sorted walk beside the rows.
  const asked = Uint32Array.from({ length: 600_000 }, (_, i) => Math.imul(i, 2654435761) >>> 0).sort();
  let row = 0;
  let known = 0;
  for (const address of asked) {
    while (row < rows.length && rows[row].end < address) row++;
    if (row < rows.length && rows[row].start <= address) known++;
  }
  const address = (text: string) => text.split('.').reduce((number, part) => number * 256 + Number(part), 0);
  const some = ['1.1.1.1', '8.8.8.8', '130.102.6.1', '10.0.0.1', '223.255.255.255'];
  expect(known).toBeGreaterThan(100_000);
  expect(await run('ip-country.js', ...some)).toEqual([
    `${rows.length} ranges`,
    ...some.map((text) => `${text}: ${inOrder(address(text)) ?? 'unknown'}`),
    `600000 lookups by 3 threads: ${known} in a known range`,
  ]);
  const wrong = await ran(process.execPath, [join(FOLDER, 'ip-country.js'), '1.2.3'], ROOT, 40_000);
  expect(wrong).toMatchObject({ code: 2, err: 'not an IPv4 address: 1.2.3\n' });
});

example('order-book.js', async () => {
  tested.add('order-book-commands.js');
  const [placed, sums, lost, title, ...rest] = await run('order-book.js');
  expect(placed).toBe('1200 orders by 3 threads, 1 failover on the way');
  // What is ordered does not depend on how the traders' orders interleave; what is matched does.
  let all = 0;
  for (let owner = 0; owner < 3; owner++) for (let i = 0; i < 400; i++) all += 1 + ((i * 31 + owner) % 50);
  const [ordered, traded, left] = (sums.match(/\d+/g) as string[]).map(Number);
  expect(sums).toBe(`ordered ${ordered}: ${traded} bought and sold, ${left} left in the book`);
  expect(ordered).toBe(all);
  expect(2 * traded + left).toBe(all);
  expect(traded).toBeGreaterThan(all / 10);
  expect([lost, title]).toEqual(['nothing lost: true', 'the middle of the book:']);
  const book = rest.slice(0, 6).map((line) => /^ {2}(ask|bid) +(\d+\.\d\d) x +\d+$/.exec(line)?.slice(1) ?? []);
  expect(book.map(([side]) => side)).toEqual(['ask', 'ask', 'ask', 'bid', 'bid', 'bid']);
  const prices = book.map(([, price]) => Number(price));
  expect([...prices].sort((a, b) => b - a)).toEqual(prices);
  // No bid reaches an ask.
  expect(prices[2]).toBeGreaterThan(prices[3]);
  expect(rest.slice(6)).toEqual(['an order of nothing: ERR_COMMAND_FAILED, place: nothing is ordered']);
});

it('each example is tested', () => {
  expect([...tested].sort()).toEqual(readdirSync(FOLDER).sort());
});
