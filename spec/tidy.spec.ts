/** Style that a machine can check: import direction, what each room may use, leftovers, and the words of the public face. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

const GENERATED = [join('engine', 'core-bytes.ts'), join('workers', 'browser', 'thread-source.ts')];

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map((name) => join(folder, name))
    .filter((name) => !GENERATED.includes(name));
}

function imports(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)].map((match) => match[1]);
}

/** The room (top-level folder) that a relative import of a file leads to. */
function roomOf(file: string, target: string): string {
  const path = relative(root, resolve(root, dirname(file), target));
  return path.includes('/') ? path.split('/')[0] : path;
}

const ROOMS = ['layout', 'engine', 'tree.ts', 'workers', 'index.ts'];
const files = ROOMS.flatMap((room) => (room.endsWith('.ts') ? room : sources(room)));

describe('tidy', () => {
  it('finds the sources', () => {
    expect(files.length).toBeGreaterThan(40);
  });

  it('imports go left only: layout <- engine <- tree.ts; engine <- workers <- index.ts', () => {
    const wrong: string[] = [];
    for (const file of files) {
      const own = ROOMS.indexOf(file.split('/')[0]);
      for (const target of imports(file)) {
        if (!target.startsWith('.')) continue;
        const room = ROOMS.indexOf(roomOf(file, target));
        // The workers take what they need of the engine where it is, not from its public face.
        const face = ROOMS[room] === 'tree.ts' && file !== 'index.ts';
        if (room < 0 || room > own || face) wrong.push(`${file} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('the core imports only itself and the layout', () => {
    for (const file of sources('engine').filter((name) => name.startsWith('engine/core/'))) {
      for (const target of imports(file)) expect(target, file).toMatch(/^(\.\/|\.\.\/\.\.\/layout\/)[a-z-]+\.ts$/);
    }
  });

  it('the layout holds integer constants only, and imports nothing else', () => {
    for (const file of sources('layout')) {
      for (const target of imports(file)) expect(target, file).toMatch(/^\.\/[a-z-]+\.ts$/);
      const code = readFileSync(join(root, file), 'utf8')
        .replace(/\/\*[\s\S]*?\*\//g, '')
        .replace(/^import [\s\S]*?;$/gm, '')
        .split('\n')
        .filter((line) => line.trim() !== '' && !line.trim().startsWith('//'));
      for (const line of code) expect(line, file).toMatch(/^export const [A-Z0-9_]+ = [A-Z0-9_a-fx +*<>()-]+;$/);
    }
  });

  it('Node built-ins are used by the Node platform only', () => {
    const platform = [join('workers', 'platform-node.ts'), join('workers', 'durable', 'files-node.ts')];
    for (const file of files) {
      // Nothing but the platform may bring the Node files into another graph.
      if (file !== platform[0]) expect(imports(file), file).not.toContain('./durable/files-node.ts');
      if (platform.includes(file)) continue;
      expect(
        imports(file).filter((target) => target.startsWith('node:')),
        file,
      ).toEqual([]);
    }
  });

  it('no library code prints, evaluates or leaves work for later', () => {
    for (const file of files) {
      const text = readFileSync(join(root, file), 'utf8');
      expect(text, file).not.toMatch(/\bconsole\.|\beval\(|new Function\(/);
      expect(text, file).not.toMatch(/\b(TODO|FIXME|XXX|HACK)\b/);
    }
  });

  it('the core has no data segment and no managed object: its memory is shared', () => {
    const wasm = readFileSync(join(root, 'dist', 'core.wasm'));
    const module = new WebAssembly.Module(wasm);
    // Section 11 holds data segments, section 12 their count.
    expect(sectionIds(wasm)).not.toContain(11);
    expect(sectionIds(wasm)).not.toContain(12);
    expect(WebAssembly.Module.imports(module)).toEqual([{ module: 'env', name: 'memory', kind: 'memory' }]);
    for (const { name } of WebAssembly.Module.exports(module)) expect(name).not.toMatch(/^__/);
  });

  it('errors carry codes that are documented', () => {
    const known = new Set(
      [...readFileSync(join(root, 'engine', 'errors.ts'), 'utf8').matchAll(/'(ERR_[A-Z_]+)'/g)].map(
        (match) => match[1],
      ),
    );
    expect(known.size).toBeGreaterThan(15);
    for (const file of files) {
      for (const [, code] of readFileSync(join(root, file), 'utf8').matchAll(/new SabtreeError\(\s*'([A-Z_]+)'/g)) {
        expect(known, file).toContain(code);
      }
    }
  });

  it('every file has a home in ARCHITECTURE, and every home a file; invariants stand in order', () => {
    const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
    const section = text.slice(text.indexOf('\n## Rooms\n'), text.indexOf('\n## The way of a command\n'));
    // The first column of each table; a heading like `engine/` says where its files are.
    const homes = new Set<string>();
    let folder = '';
    for (const line of section.split('\n')) {
      if (line.startsWith('### ')) folder = /^### `([\w/]+)`/.exec(line)?.[1] ?? '';
      const [, cell] = /^\| (`.*?`) \|/.exec(line) ?? [];
      for (const [, name] of cell?.matchAll(/`([^`]+)`/g) ?? []) homes.add(folder + name);
    }
    const rooms = ['layout', 'engine', 'workers', 'cli'];
    const found = new Set([...rooms.flatMap(sources), 'index.ts', 'tree.ts', 'level.ts']);
    const folderOf = (file: string) => `${dirname(file)}/*.ts`;
    expect([...found].filter((file) => !homes.has(file) && !homes.has(folderOf(file)))).toEqual([]);
    const stands = (home: string) => found.has(home) || [...found].some((file) => folderOf(file) === home);
    expect([...homes].filter((home) => /^(layout|engine|workers|cli)\//.test(home) && !stands(home))).toEqual([]);

    const invariants = [...text.matchAll(/^- \*\*I(\d+)\.\*\*/gm)].map(([, number]) => Number(number));
    expect(invariants.length).toBeGreaterThan(20);
    expect(invariants).toEqual(invariants.map((_, i) => i + 1));
    const decisions = [...text.matchAll(/^### (\d+)\./gm)].map(([, number]) => Number(number));
    expect(decisions).toEqual(decisions.map((_, i) => i + 1));
  });

  it('every public class and function has a doc comment', () => {
    const exported = ['tree.ts', 'index.ts'].flatMap(imports).map((target) => target.replace('./', ''));
    expect(exported.length).toBeGreaterThan(5);
    for (const file of exported) {
      const text = readFileSync(join(root, file), 'utf8');
      for (const match of text.matchAll(/\n(.*)\nexport (?:async )?(?:abstract )?(class|function) (\w+)/g)) {
        expect(match[1].trim(), `${file}: ${match[3]}`).toMatch(/\*\/$/);
      }
    }
  });
});

/** Ids of a wasm binary's sections, in order. */
function sectionIds(wasm: Uint8Array): number[] {
  const ids: number[] = [];
  for (let at = 8; at < wasm.length; ) {
    ids.push(wasm[at++]);
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = wasm[at++];
      size |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    at += size;
  }
  return ids;
}
