/**
 * The package as npm would publish it: what is in it, how large it is, whether its types and exports are found by every kind
 * of importer, and whether it works when it is installed into an empty project. Nothing here needs the network; `npm run
 * test:package` does the same from the registry, on every supported Node.js.
 */
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { rolldown } from 'rolldown';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  compile,
  folders,
  JS_OUTPUT,
  makeProject,
  manifest,
  npm,
  type Packed,
  pack,
  ROOT,
  succeed,
  TS_OUTPUT,
  WHOLE_COMPILATION,
} from './support/package.ts';

/** What README states, in units of 1000 bytes: the tarball, and what it unpacks to. */
const MAX_PACKED_KB = 650;
const MAX_UNPACKED_KB = 2400;
/** A page that uses the tree alone: minified and compressed. */
const MAX_TREE_KB = 65;

const own = manifest();
let folder = '';
let project = '';
let installed = '';
let packed: Packed;

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'sabtree-package-')));
  project = join(folder, 'project');
  installed = join(project, 'node_modules', 'sabtree');
  packed = await pack(folder);
  const tools = folders([...Object.keys(own.dependencies ?? {}), '@types/node']);
  makeProject(project, { sabtree: `file:${packed.tarball}`, ...tools });
  await npm(['install', '--offline', '--ignore-scripts', '--install-links'], project);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Module names in a file's imports: static, dynamic, and those of threads. */
function imports(file: string): string[] {
  const text = readFileSync(join(installed, file), 'utf8');
  const urls = text.matchAll(/new URL\(\s*['"](\.[^'"]+\.js)['"]\s*,\s*import\.meta\.url/g);
  return [...ts.preProcessFile(text).importedFiles.map(({ fileName }) => fileName), ...[...urls].map(([, url]) => url)];
}

/** A file with all it reaches inside the package, and the packages it reaches. */
function reach(entry: string): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (file: string) => {
    if (files.has(file)) return;
    files.add(file);
    for (const target of imports(file)) {
      if (target.startsWith('.')) visit(posix.join(posix.dirname(file), target));
      else packages.add(target);
    }
  };
  visit(entry);
  return { files, packages };
}

describe('what is packed', () => {
  it('is all that its files import, and nothing of the workshop', () => {
    const files = new Set(packed.files);
    expect(files.size).toBeGreaterThan(100);
    const missing: string[] = [];
    let followed = 0;
    for (const file of files) {
      if (/\.(wasm|wat|map|tgz|tsbuildinfo)$|\.spec\.|\/\.|^(spec|\.ci|demo|docs)\//.test(file))
        missing.push(`${file} is there`);
      if (/\.ts$/.test(file) && !file.endsWith('.d.ts')) missing.push(`${file} is a source`);
      if (!/\.(js|d\.ts)$/.test(file)) continue;
      for (const target of imports(file)) {
        followed++;
        if (target.startsWith('.')) {
          const path = posix.join(posix.dirname(file), target);
          // The compiler finds the declarations beside what is run, by either ending.
          const wanted = file.endsWith('.d.ts') ? path.replace(/\.[jt]s$/, '.d.ts') : path;
          if (!files.has(wanted)) missing.push(`${file} imports ${target}`);
        } else if (!target.startsWith('node:') && target !== '#platform') {
          const name = target
            .split('/')
            .slice(0, target.startsWith('@') ? 2 : 1)
            .join('/');
          if (own.dependencies?.[name] === undefined && own.peerDependencies?.[name] === undefined)
            missing.push(`${file} imports ${target}`);
        }
      }
    }
    expect(missing).toEqual([]);
    expect(followed).toBeGreaterThan(300);
  });

  it('tells bundlers to leave alone what it imports by a URL, where all of them look', () => {
    // The threads' script is in a string, which no bundler reads.
    const scripts = packed.files.filter((file) => file.endsWith('.js') && !file.endsWith('/thread-source.js'));
    const calls = scripts.flatMap((file) => {
      const text = readFileSync(join(installed, file), 'utf8');
      return [...text.matchAll(/\bimport\((?!['"]).*/g)].map(([call]) => call);
    });
    expect(calls.length).toBeGreaterThan(0);
    for (const call of calls)
      expect(call).toMatch(/^import\(\/\* @vite-ignore \*\/ \/\* webpackIgnore: true \*\/ \w+\)/);
  });

  it('has the notices of what is inside the script of its threads', () => {
    const script = readFileSync(join(installed, 'dist/workers/browser/thread-source.js'), 'utf8');
    expect(script).toContain('SPDX-License-Identifier: Apache-2.0');
  });

  it('is no larger than README says', () => {
    expect(packed.size, 'packed').toBeLessThan(MAX_PACKED_KB * 1000);
    expect(packed.unpackedSize, 'unpacked').toBeLessThan(MAX_UNPACKED_KB * 1000);
    // A limit that is far off says nothing.
    expect(packed.size, 'packed').toBeGreaterThan(MAX_PACKED_KB * 500);
    expect(packed.unpackedSize, 'unpacked').toBeGreaterThan(MAX_UNPACKED_KB * 500);
  });

  it('publint finds nothing', async () => {
    const { messages, pkg } = await publint({ pkgDir: installed, strict: true, pack: false });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });

  it('its types are found by every ESM importer, and belong to what is run', async () => {
    const tarball = createPackageFromTarballData(new Uint8Array(readFileSync(packed.tarball)));
    const result = await checkPackage(tarball);
    if (!result.types) throw new Error('the package has no types');
    const entries = Object.keys(result.entrypoints);
    expect(entries).toEqual(Object.keys(own.exports));
    // It is a package of ES modules, so what CommonJS importers see (node10, node16-cjs) is left out, as attw's own profile
    // "esm-only" does.
    const esm = result.problems.filter((problem) => {
      const kind = 'resolutionKind' in problem ? problem.resolutionKind : undefined;
      return kind !== 'node10' && kind !== 'node16-cjs';
    });
    expect(esm).toEqual([]);
  });
});

describe('installed into an empty project', () => {
  it('brings no package but its own four', () => {
    const lock = JSON.parse(readFileSync(join(project, 'package-lock.json'), 'utf8'));
    expect(Object.keys(lock.packages['node_modules/sabtree'].dependencies).sort()).toEqual([
      '@msgpack/msgpack',
      'comlink',
      'ring-buffer-ts',
      'typed-binary',
    ]);
    expect(lock.packages['node_modules/sabtree'].hasInstallScript).toBeUndefined();
  });

  it('runs in JavaScript, with threads, store and all', async () => {
    expect(await succeed(process.execPath, ['main.js'], project)).toBe(JS_OUTPUT);
  });

  it('has a command line', async () => {
    const bin = join(project, 'node_modules', '.bin', 'sabtree');
    const version =
      process.platform === 'win32'
        ? succeed(`${bin}.cmd`, ['--version'], project)
        : succeed(bin, ['--version'], project);
    expect(await version).toBe(`${manifest().version}\n`);
  });

  it('compiles in TypeScript, and runs', async () => {
    const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    const program = await compile(project, tsc, WHOLE_COMPILATION);
    expect(await succeed(process.execPath, [program], project)).toBe(TS_OUTPUT);
  });
});

describe('what a bundler takes', () => {
  it('sabtree/tree reaches no thread, no built-in and no control plane', () => {
    const { files, packages } = reach('dist/tree.js');
    expect([...files].filter((file) => !/^dist\/(tree\.js|engine\/|layout\/)/.test(file))).toEqual([]);
    expect([...packages].sort()).toEqual(['@msgpack/msgpack', 'typed-binary']);
    // The same look finds all of them behind the whole.
    const whole = reach('dist/index.js');
    expect([...whole.packages]).toEqual(expect.arrayContaining(['#platform', 'comlink']));
    expect([...whole.files].some((file) => file.startsWith('dist/workers/'))).toBe(true);
  });

  it('of the whole, only what is used: a tree alone comes without the store', async () => {
    const bundle = async (name: string, code: string) => {
      const input = join(project, `${name}.js`);
      writeFileSync(input, code);
      const made = await rolldown({ input, platform: 'browser', logLevel: 'silent' });
      const { output } = await made.generate({ format: 'esm', minify: true });
      await made.close();
      const [chunk] = output;
      const modules = Object.entries(chunk.modules).flatMap(([id, { renderedLength }]) =>
        renderedLength > 0 ? id.replaceAll('\\', '/').replace(/^.*\/node_modules\//, '') : [],
      );
      const file = join(project, `${name}.bundle.mjs`);
      writeFileSync(file, chunk.code);
      return { modules, file, bytes: gzipSync(chunk.code).length };
    };
    const use =
      'const tree = SharedTree.create({ key: "u32", value: "f64" }); tree.put(1, 2); export default [...tree];';
    const tree = await bundle('tree', `import { SharedTree } from 'sabtree'; ${use}`);
    expect(tree.modules.filter((id) => /workers|comlink|cli/.test(id))).toEqual([]);
    expect(tree.modules).toContain('sabtree/dist/engine/shared-tree.js');
    expect((await import(pathToFileURL(tree.file).href)).default).toEqual([[1, 2]]);
    expect(tree.bytes, 'minified and compressed').toBeLessThan(MAX_TREE_KB * 1000);
    expect(tree.bytes, 'minified and compressed').toBeGreaterThan(MAX_TREE_KB * 500);
    // And the store comes with its threads.
    const store = await bundle('store', `import { open } from 'sabtree'; export default open;`);
    expect(store.modules).toEqual(expect.arrayContaining(['sabtree/dist/workers/store.js']));
  });
});
