/** Where the numbers come from. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { machine } from '../support/report.ts';
import type { Machine } from './types.ts';

/** The commit of this checkout, '' where there is none: an installed package has only its version. */
function commit(): string {
  // dist/perf/models is three levels below the root.
  const root = fileURLToPath(new URL('../../../', import.meta.url));
  if (!existsSync(join(root, '.git'))) return '';
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return '';
  }
}

export function thisMachine(): Machine {
  const { cpu, cores, memoryGiB, platform, node, date, versions } = machine([]);
  return { cpu, cores, memoryGiB, platform, node, sabtree: versions.sabtree, commit: commit(), date };
}
