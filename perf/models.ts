/** The execution models beside each other: `npm run perf:models -- [--quick] [--json] [--help]`; see perf/models/flags.ts. */
import { bench } from './models/command.ts';
import { FlagError } from './support/flags.ts';

try {
  process.exitCode = await bench(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof FlagError)) throw error;
  process.stderr.write(`${error.message}\n--help says more.\n`);
  process.exitCode = 2;
}
