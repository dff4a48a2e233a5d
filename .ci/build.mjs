/**
 * Builds dist/: first the WebAssembly core (asc), then the browser's threads (esbuild), then everything else (tsc), and a copy of Chart.js. A step whose inputs have not changed is
 * skipped; inputs are compared by content, so neither a checkout's file times nor a switched branch can mislead it.
 *
 *   node .ci/build.mjs [--force]
 *
 * All output goes to stderr: a program started behind a build owns stdout.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { alone } from './lock.mjs';
import { fail, isMain, ROOT, StepError, say, step } from './steps.mjs';
import { threadSource } from './threads.mjs';

const DIST = join(ROOT, 'dist');

const CORE_ENTRY = 'engine/core/index.ts';
const CORE_BYTES = 'engine/core-bytes.ts';
/** The script of the threads in a browser; .ci/threads.mjs makes it of the sources. */
const THREAD_SOURCE = 'workers/browser/thread-source.ts';
const GENERATED = [CORE_BYTES, THREAD_SOURCE];
const CORE_WASM = 'dist/core.wasm';
const CORE_TEXT = 'dist/.core.wat';
/** What the pages of `sabtree bench --html` draw with; perf/models/html.ts reads it. */
const CHART_LIBRARY = 'dist/perf/models/page/chart.umd.js';
const CHART_PACKAGES = ['chart.js', '@kurkle/color'];
const CORE_STAMP = 'dist/.core-stamp';
const BUILD_STAMP = 'dist/.build-stamp';
const BUILD_INFO = 'dist/.tsbuildinfo';

/** What tsc compiles; the same list stands in tsconfig.json. */
const SOURCES = ['index.ts', 'level.ts', 'tree.ts', 'layout', 'engine', 'workers', 'cli', 'perf'];

const ASC_FLAGS = [
  '--importMemory',
  '--sharedMemory',
  ...['--initialMemory', '1'],
  ...['--maximumMemory', '65535'],
  ...['--enable', 'threads'],
  ...['--enable', 'simd'],
  ...['--enable', 'bulk-memory'],
  ...['--runtime', 'stub'],
  ...['--use', 'abort='],
  '-O3',
  '--noAssert',
  '--converge',
];

function at(path) {
  return join(ROOT, path);
}

function readIfThere(path) {
  try {
    return readFileSync(at(path), 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The .ts files below a path, relative to the root, in a fixed order. */
function filesBelow(path, skip = () => false) {
  if (skip(path)) return [];
  const stat = statSync(at(path), { throwIfNoEntry: false });
  if (stat === undefined) return [];
  if (!stat.isDirectory()) return path.endsWith('.ts') ? [path] : [];
  return readdirSync(at(path))
    .sort()
    .flatMap((name) => filesBelow(`${path}/${name}`, skip));
}

function coreSources() {
  return [...filesBelow('engine/core'), ...filesBelow('layout')];
}

function typedSources() {
  return SOURCES.flatMap((path) => filesBelow(path, (file) => file === 'engine/core' || GENERATED.includes(file)));
}

/** One hash over names and contents of files, and over further texts. */
function digest(paths, ...texts) {
  const hash = createHash('sha256');
  for (const path of paths)
    hash
      .update(`${path}\0`)
      .update(readIfThere(path) ?? '')
      .update('\0');
  for (const text of texts) hash.update(`${text}\0`);
  return hash.digest('hex');
}

function versionOf(name) {
  return JSON.parse(readIfThere(`node_modules/${name}/package.json`) ?? '{}').version ?? 'missing';
}

function coreKey() {
  const tools = `${versionOf('assemblyscript')} ${versionOf('binaryen')}`;
  return digest([...coreSources(), 'engine/core/tsconfig.json', '.ci/asc.mjs'], ASC_FLAGS.join(' '), tools);
}

/** The stamp also covers what was generated, so that an edited or lost file is made anew. */
function coreStamp(key) {
  return `${key} ${digest([CORE_BYTES])}`;
}

function isCoreBuilt(key) {
  return existsSync(at(CORE_WASM)) && existsSync(at(CORE_BYTES)) && readIfThere(CORE_STAMP) === coreStamp(key);
}

function outputOf(source) {
  return `dist/${source.replace(/\.ts$/, '.js')}`;
}

function outputsAreThere() {
  return [...[...typedSources(), ...GENERATED].map(outputOf), CHART_LIBRARY].every((output) => existsSync(at(output)));
}

function buildKey() {
  const inputs = [...typedSources(), 'tsconfig.json', 'package.json', '.ci/build.mjs', '.ci/threads.mjs'];
  // The threads' script has the dependencies inside.
  const { dependencies } = JSON.parse(readFileSync(at('package.json'), 'utf8'));
  const packages = ['typescript', 'esbuild', ...Object.keys(dependencies), ...CHART_PACKAGES];
  return digest(inputs, coreKey(), ...packages.map(versionOf));
}

/** Whether dist/ is what a build would make of the sources as they stand. Takes a few milliseconds. */
export function isBuilt() {
  return readIfThere(BUILD_STAMP) === buildKey() && isCoreBuilt(coreKey()) && outputsAreThere();
}

/** Writes a file so that no other process ever sees half of it. */
function writeWhole(path, content) {
  writeFileSync(at(`${path}.tmp`), content);
  renameSync(at(`${path}.tmp`), at(path));
}

function occurrences(text, pattern) {
  return text.match(pattern)?.length ?? 0;
}

/**
 * The core must have kept its fences (.ci/asc.mjs says how they get lost). Inlining multiplies them and nothing but a
 * defect removes one, so there are at least as many as the sources have.
 */
function checkFences() {
  const written = coreSources().reduce(
    (sum, path) => sum + occurrences(readFileSync(at(path), 'utf8'), /^(?!\s*(\*|\/\/)).*\batomic\.fence\(\)/gm),
    0,
  );
  const kept = occurrences(readFileSync(at(CORE_TEXT), 'utf8'), /\batomic\.fence\b/g);
  if (kept < written) {
    throw new StepError(`the core's sources have ${written} fences, but only ${kept} are left in ${CORE_WASM}`);
  }
  return kept;
}

function buildCore(key) {
  rmSync(at(CORE_STAMP), { force: true });
  const compiled = `${CORE_WASM}.tmp`;
  const took = step('asc', process.execPath, [
    '.ci/asc.mjs',
    CORE_ENTRY,
    ...ASC_FLAGS,
    '--outFile',
    compiled,
    '--textFile',
    CORE_TEXT,
  ]);
  const fences = checkFences();
  const bytes = readFileSync(at(compiled));
  if (!WebAssembly.validate(bytes)) throw new StepError('asc made a module that this Node.js does not accept');
  renameSync(at(compiled), at(CORE_WASM));
  const generated = [
    '// Generated from engine/core by .ci/build.mjs; do not edit.',
    '',
    '/** The WebAssembly core, in base64: a string needs no file or fetch at run time, in any environment. */',
    `export const CORE_BASE64: string =\n  '${bytes.toString('base64')}';`,
    '',
  ].join('\n');
  if (readIfThere(CORE_BYTES) !== generated) writeWhole(CORE_BYTES, generated);
  writeWhole(CORE_STAMP, coreStamp(key));
  say(`core: ${bytes.length} bytes, ${fences} fences, ${took}`);
}

/**
 * Removes outputs whose source is gone, and source maps of earlier builds: they would be published, and tests could still
 * import them. (What tsc makes of the sources is the sources without their types, comments and all: maps would say nothing
 * more, and be half of the package.)
 */
function prune() {
  const sources = new Set([...typedSources(), ...GENERATED]);
  for (const name of readdirSync(DIST, { recursive: true })) {
    const path = String(name).replaceAll('\\', '/');
    const output = /^(.*?)(\.js|\.d\.ts)$/.exec(path);
    const orphan = output && !sources.has(`${output[1]}.ts`) && `dist/${path}` !== CHART_LIBRARY;
    if (orphan || path.endsWith('.map')) rmSync(join(DIST, path));
  }
}

/** The package has it inside, since its users have no Chart.js; so their licences come with it. */
function copyChartLibrary() {
  const licences = CHART_PACKAGES.map(
    (name) => `${name} ${versionOf(name)}\n\n${readFileSync(at(`node_modules/${name}/LICENSE.md`), 'utf8').trim()}\n`,
  );
  const code = readFileSync(at('node_modules/chart.js/dist/chart.umd.min.js'), 'utf8');
  mkdirSync(dirname(at(CHART_LIBRARY)), { recursive: true });
  writeWhole(CHART_LIBRARY, `/*!\n${licences.join('\n')}*/\n${code.replace(/^\/\/# sourceMappingURL=.*\n?/gm, '')}`);
}

/**
 * tsc wraps what is imported by a URL in a helper for relative paths. The comments that tell bundlers to leave that import alone
 * then stand where not all of them look (Rspack does not), and no such URL is a relative path: so the helper goes.
 */
function unwrapImports() {
  for (const output of typedSources().map(outputOf)) {
    const text = readFileSync(at(output), 'utf8');
    const bare = text
      .replace(/^var __rewriteRelativeImportExtension = [\s\S]*?^};\n/m, '')
      .replace(/\b__rewriteRelativeImportExtension\(([^()]*)\)/g, '$1');
    if (bare !== text) writeWhole(output, bare);
  }
}

async function buildThreads() {
  const start = performance.now();
  const source = await threadSource();
  if (readIfThere(THREAD_SOURCE) !== source) writeWhole(THREAD_SOURCE, source);
  say(`threads: ${source.length} bytes, ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

function buildTyped() {
  if (!outputsAreThere()) rmSync(at(BUILD_INFO), { force: true });
  const took = step('tsc', process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']);
  prune();
  unwrapImports();
  for (const path of Object.values(JSON.parse(readFileSync(at('package.json'), 'utf8')).bin)) {
    if (existsSync(at(path))) chmodSync(at(path), 0o755);
    else say(`warning: package.json names ${path}, which no source makes`);
  }
  say(`tsc: ${took}`);
}

/** Brings dist/ up to date. The caller holds the lock. */
export async function buildAlone({ force = false } = {}) {
  if (force) rmSync(DIST, { recursive: true, force: true });
  if (isBuilt()) return;
  mkdirSync(DIST, { recursive: true });
  rmSync(at(BUILD_STAMP), { force: true });
  // The keys are taken before the tools run: a source edited meanwhile makes the next build build again.
  const core = coreKey();
  const whole = buildKey();
  if (!isCoreBuilt(core)) buildCore(core);
  await buildThreads();
  buildTyped();
  copyChartLibrary();
  writeWhole(BUILD_STAMP, whole);
}

/** Brings dist/ up to date, waiting for a build that is under way in another process. */
export async function build(options = {}) {
  if (!options.force && isBuilt()) return;
  await alone(() => buildAlone(options));
}

if (isMain(import.meta.url)) {
  await build({ force: process.argv.includes('--force') }).catch(fail);
}
