/**
 * The AssemblyScript compiler, with two repairs: `node .ci/asc.mjs ARGS` takes asc's arguments.
 *
 * Without them the core loses every `atomic.fence`, which is a data race on arm64 (see engine/core/latch.ts):
 *
 * 1. asc 0.28.20 calls binaryen's fence constructor without the memory order it asks for since mid-2026; the argument
 *    that stands there reads as "unordered". The constructor is given the one order WebAssembly has had so far.
 * 2. binaryen's precompute passes take a fence for a constant expression and drop it (seen in versions 123 to 131). They
 *    are skipped; the engines fold constants themselves.
 *
 * The build counts the fences in what comes out, so that neither can come back unnoticed.
 */
import binaryen from 'binaryen';

const construct = binaryen._BinaryenAtomicFence;
const sequentiallyConsistent = binaryen._BinaryenMemoryOrderSeqCst();
binaryen._BinaryenAtomicFence = (module) => construct(module, sequentiallyConsistent);

binaryen.addPassToSkip('precompute');
binaryen.addPassToSkip('precompute-propagate');

const asc = await import('assemblyscript/asc');
const { error } = await asc.main(process.argv.slice(2), { stdout: process.stderr, stderr: process.stderr });
if (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
