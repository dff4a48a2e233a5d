/**
 * What a machine can say about the sources without running them: biome, the types of tests and demo, and whether the API reference is
 * whole (everything public documented, no link broken). Fails if any of them does.
 */
import { spawn } from 'node:child_process';
import { fail, ROOT, StepError, say } from './steps.mjs';

const CHECKS = {
  biome: ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings'],
  'types of spec/': ['node_modules/typescript/bin/tsc', '-p', 'spec/tsconfig.json', '--noEmit'],
  'types of demo/': ['node_modules/typescript/bin/tsc', '-p', 'demo/tsconfig.json', '--noEmit'],
  'API reference': ['node_modules/typedoc/bin/typedoc', '--emit', 'none'],
};

/** Runs one check; its output is kept together and shown only if it fails. */
function check([name, args]) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    const output = [];
    child.stdout.on('data', (chunk) => output.push(chunk));
    child.stderr.on('data', (chunk) => output.push(chunk));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code !== 0) process.stderr.write(Buffer.concat(output));
      resolve({ name, failure: code === 0 ? undefined : `${name} failed (${signal ?? `exit code ${code}`})` });
    });
  });
}

try {
  const start = performance.now();
  const results = await Promise.all(Object.entries(CHECKS).map(check));
  const failures = results.flatMap(({ failure }) => failure ?? []);
  if (failures.length > 0) throw new StepError(failures.join('; '));
  say(`checks: ${Object.keys(CHECKS).join(', ')}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
} catch (error) {
  fail(error);
}
