/** The execution models beyond this machine's cores, simulated: `npm run perf:simulate -- [--quick] [--json] [--help]`. */

import { simulateCommand } from './simulate/command.ts';
import { FlagError } from './support/flags.ts';

try {
  process.exitCode = await simulateCommand(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof FlagError)) throw error;
  process.stderr.write(`${error.message}\n--help says more.\n`);
  process.exitCode = 2;
}
