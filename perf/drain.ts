/**
 * What executors can do when nobody competes with them for the cores: rings are filled while they stand still, then they
 * are started and drain them with no client running. `npm run perf:drain -- [--json] [--quick]`. All models take turns;
 * after every run the content is compared with what the commands say.
 */
import { type ModelName, modelNames } from '../index.ts';
import { thisMachine } from './models/machine.ts';
import type { Cell, Report } from './models/types.ts';
import { type Mix, WORKLOADS } from './models/workloads.ts';
import { type Drained, drain, ringFor } from './support/drain.ts';
import { drawCommands } from './support/draw.ts';
import { type Spread, spread } from './support/measure.ts';
import { describeMachine, machine, readFlags, short, table } from './support/report.ts';

const { json, quick } = readFlags();
const COMMANDS = quick ? 10_000 : 360_000;
/** Entries at the beginning. */
const ENTRIES = quick ? 5000 : 50_000;
const RUNS = quick ? 2 : 5;

const models = modelNames.filter((name) => name !== 'direct');
const cells: Cell[] = [];
const lines: string[][] = [['workload', 'executors', 'model', 'commands/s (min-max)', 'x smr (min-max)']];
for (const workload of ['inserts+deletes', 'updates', 'reads']) {
  const mix: Mix = WORKLOADS[workload];
  for (const executors of [1, 2]) {
    const rates = new Map<ModelName, number[]>(models.map((name) => [name, []]));
    const last = new Map<ModelName, Drained>();
    for (let run = 0; run < RUNS; run++) {
      const commands = drawCommands(mix, 'uniform', ENTRIES, COMMANDS, 1 + run);
      for (let turn = 0; turn < models.length; turn++) {
        const model = models[(turn + run) % models.length];
        const timing = await drain({ model, executors, commands, ring: ringFor(COMMANDS) });
        last.set(model, timing);
        rates.get(model)?.push(timing.perSecond);
      }
      process.stderr.write(`drain: ${workload}, ${executors} executors, run ${run + 1} of ${RUNS}\n`);
    }
    const base = rates.get('smr') as number[];
    for (const [model, list] of rates) {
      const rate = spread(list);
      const ratio = spread(list.map((one, run) => one / base[run]));
      const shown = ({ median, min, max }: Spread) => `${short(median)} (${short(min)}-${short(max)})`;
      lines.push([workload, String(executors), model, shown(rate), shown(ratio)]);
      const plan = { model, executors, workload, distribution: 'uniform' as const, window: COMMANDS, replicas: 1 };
      const { stats } = last.get(model) as Drained;
      const commands = COMMANDS;
      cells.push({
        ...plan,
        clients: 0,
        kind: 'drain',
        oversubscribed: false,
        commandsPerSecond: rate,
        commands,
        ...stats,
        verified: true,
      });
    }
  }
}
if (json) {
  const report: Report = { machine: thisMachine(), cells };
  process.stdout.write(`${JSON.stringify(report)}\n`);
} else {
  process.stdout.write(`${describeMachine(machine([]))}${table(lines, [1, 3, 4])}\n`);
}
