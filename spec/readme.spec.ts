/**
 * README to the letter: its programs are compiled by a strict compiler and run, with the least around them that they need, and
 * where a line says in a comment what it gives, it has to give that. Its links and commands lead somewhere.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { manifest, ROOT, ran, succeed } from './support/package.ts';

const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

/** A block of code, and the heading it stands under. */
interface Block {
  readonly heading: string;
  readonly language: string;
  readonly code: string;
}

function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  let heading = '';
  for (const part of text.matchAll(/^#+ (.*)$|^```(\w*)\n([\s\S]*?)^```$/gm)) {
    if (part[1] !== undefined) heading = part[1];
    else blocks.push({ heading, language: part[2], code: part[3] });
  }
  return blocks;
}

/** The value that a comment begins with, as code: up to the first mark outside brackets that ends it. */
function valueIn(comment: string): string | undefined {
  let depth = 0;
  let end = 0;
  for (; end < comment.length; end++) {
    const sign = comment[end];
    if ('[{('.includes(sign)) depth++;
    else if (']})'.includes(sign)) depth--;
    else if (depth === 0 && /[:;,] /.test(comment.slice(end, end + 2))) break;
  }
  const value = comment.slice(0, end);
  return /^(true|false|undefined|-?\d[\d_.]*n?|\[.*\])$/.test(value) ? value : undefined;
}

let checked = 0;

/** Lines that say what they give become checks that they do. */
function withChecks(code: string): string {
  return code
    .split('\n')
    .map((line) => {
      const [, act, comment] = /^((?!const |let |import |export |for |if |\/\/)\S.*?) +\/\/ (.*)$/.exec(line) ?? [];
      const value = comment === undefined ? undefined : valueIn(comment);
      if (value === undefined) return line;
      checked++;
      return `same(${act}, ${value});`;
    })
    .join('\n');
}

const HELP = `
import { deepStrictEqual } from 'node:assert';
function same(found: unknown, wanted: unknown): void { deepStrictEqual(found, wanted); }
`;
const OPEN = `import { open } from 'sabtree';
const store = await open({ key: 'u32', value: 'f64', memory: '16MB', executors: 2, replicas: 2 });
`;
const WORKER = `import { Worker } from 'node:worker_threads';
const worker = new Worker('require("node:worker_threads").parentPort.on("message", () => process.exit())', { eval: true });
`;

/** What stands around a program; how its file is called, if others import it; what it prints. */
interface Setting {
  readonly before?: string;
  readonly after?: string;
  readonly file?: string;
  readonly prints?: RegExp;
}

/** By heading, for each of its programs in turn. */
const SETTINGS: Readonly<Record<string, readonly Setting[]>> = {
  'In your program': [{ file: 'visits', prints: /^\[ \[ '\/', 4000 \], \[ '\/about', 4000 \] \]\n$/ }],
  'A map for all your threads': [{ before: WORKER, prints: /^1 4\n$/ }],
  'As a `Map`': [{ before: WORKER, after: 'same([...map], [[7n, 1]]);' }],
  'Keys and values': [
    {
      after: 'await new Promise((resolve) => setTimeout(resolve, 200)); await carts.close();',
      prints: /^user:ann \{ .*admin.* \}\nberlin \d{4}-.*Z\nput cart:7\n$/,
    },
  ],
  'A replicated state machine': [
    { after: 'same(await client.get(2), 3.5); await client.close();' },
    {
      before: `${OPEN}await store.putMany([2, 3], [3.5, 1]);`,
      after: 'await store.close();',
      prints: /^10 6\n11 7\n$/,
    },
  ],
  'Commands of your own': [{ file: 'commands' }, { after: 'await store.close();' }],
  Watching: [
    {
      before: `${OPEN}const client = store;
setTimeout(async () => { await store.put(7, 7); await store.delete(7); await store.close(); }, 100);`,
      prints: /^\{ type: 'put', key: 7, value: 7, .*\}\n\{ type: 'delete', key: 7, .*\}\n$/s,
    },
  ],
  'When something dies': [
    {
      before: OPEN,
      after: `for (let i = 0; i < 200 && store.status().rebuilds === 0; i++) await new Promise((go) => setTimeout(go, 100));
await store.get(1); await new Promise((go) => setTimeout(go, 200)); await store.close();`,
      prints: /type: 'lost'[\s\S]*type: 'failover'[\s\S]*type: 'rebuilt'/,
    },
  ],
  'Snapshots and the log': [{}],
  'As a level database': [{ after: 'await db.close();', prints: /^a \{ x: 1 \}\n$/ }],
};

/** The programs of Node.js, and how each is run. Those of pages (js) are like the ones in spec/browser/page, which bundlers and browsers get. */
const programs = blocksOf(README)
  .filter(({ language }) => language === 'ts')
  .map((block, i, all) => {
    const turn = all.slice(0, i).filter(({ heading }) => heading === block.heading).length;
    const setting = SETTINGS[block.heading]?.[turn];
    return { ...block, setting, name: setting?.file ?? `program-${i}` };
  });

let folder = '';

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'sabtree-readme-')));
  mkdirSync(join(folder, 'node_modules', '@types'), { recursive: true });
  symlinkSync(ROOT, join(folder, 'node_modules', 'sabtree'));
  for (const name of ['typed-binary', 'abstract-level', '@types/node'])
    symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  for (const { name, code, setting } of programs) {
    const { before = '', after = '' } = setting ?? {};
    writeFileSync(join(folder, `${name}.ts`), `${HELP}${before}\n${withChecks(code)}\n${after}\n`);
  }
  const compilerOptions = {
    ...{ target: 'es2022', module: 'nodenext', types: ['node'], rootDir: '.', skipLibCheck: true },
    ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
  };
  const files = programs.map(({ name }) => `${name}.ts`);
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
  await succeed(process.execPath, [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'], folder, 150_000);
}, 170_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the programs of README', () => {
  it('are all known here', () => {
    expect(programs.filter(({ setting }) => setting === undefined).map(({ heading }) => heading)).toEqual([]);
    const settings = Object.values(SETTINGS).reduce((sum, { length }) => sum + length, 0);
    expect(programs.length).toBe(settings);
    // So many lines say what they give.
    expect(checked).toBeGreaterThan(18);
  });

  for (const { heading, name, setting } of programs) {
    it(`${heading}: ${name}`, async () => {
      const { code, out, err } = await ran(process.execPath, [`${name}.js`], folder, 30_000);
      expect(err).toBe('');
      expect(code).toBe(0);
      if (setting?.prints !== undefined) expect(out).toMatch(setting.prints);
    });
  }
});

describe('what README points at', () => {
  it('files and headings are there', () => {
    const headings = new Set(
      [...README.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
        heading
          .toLowerCase()
          .replace(/[^\w\- ]/g, '')
          .replaceAll(' ', '-'),
      ),
    );
    const missing = [...README.matchAll(/\]\(([^)]+)\)/g)].flatMap(([, target]) => {
      if (target.startsWith('https://')) return [];
      const there = target.startsWith('#') ? headings.has(target.slice(1)) : existsSync(join(ROOT, target));
      return there ? [] : [target];
    });
    expect(missing).toEqual([]);
  });

  it('scripts are in package.json, and its benchmarks in README', () => {
    const { scripts } = manifest() as unknown as { scripts: Record<string, string> };
    const named = [...README.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name);
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
    for (const name of Object.keys(scripts).filter((one) => /^(perf|test):/.test(one))) expect(named).toContain(name);
  });

  it('every option of open and every error code is in it', () => {
    const options = /const OPTIONS = new Set\(\[([^\]]*)\]/.exec(readFileSync(join(ROOT, 'workers/store.ts'), 'utf8'));
    const names = [...(options?.[1] ?? '').matchAll(/'(\w+)'/g)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(20);
    // `ringStart` is for tests.
    for (const name of names.filter((one) => one !== 'ringStart'))
      expect(README).toMatch(new RegExp(`^\\| .*\`${name}\``, 'm'));
    const codes = readFileSync(join(ROOT, 'engine/errors.ts'), 'utf8').matchAll(/\| '(ERR_\w+)'/g);
    for (const [, code] of codes) expect(README).toContain(`\`${code}\``);
  });
});
