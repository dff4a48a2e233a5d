/**
 * What executors can do when nobody competes with them for the cores: rings are filled while they stand still, then they
 * are started and drain them with no client running. `npm run perf:drain -- [--json] [--quick]
 * [--workloads W,...]`. All models take turns;
 * after every run the content is compared with what the commands say.
 */
import { type ModelName, modelNames } from '../index.ts';
import { thisMachine } from './models/machine.ts';
import type { Cell, Report } from './models/types.ts';
import { workloadOf } from './models/workloads.ts';
import { type Drained, drain, ringFor } from './support/drain.ts';
import { drawCommands } from './support/draw.ts';
import { type Spread, spread } from './support/measure.ts';
import { describeMachine, machine, readFlags, short, table } from './support/report.ts';

const { json, quick, workloads: chosen } = readFlags();
const COMMANDS = quick ? 10_000 : 760_000;
/** Of these, commands that only warm compilers and caches up. */
const WARM_UP = quick ? 2000 : 240_000;
/** Entries at the beginning. */
const ENTRIES = quick ? 5000 : 50_000;
const RUNS = quick ? 1 : 7;

interface Contender {
  readonly name: string;
  readonly model: ModelName;
  /** Neighbouring keys that share a group. */
  readonly locality: number;
}

const LOCALITY = 512;
const models: Contender[] = modelNames
  .filter((model) => model !== 'direct')
  .map((model) => ({ name: model, model, locality: 1 }));
/** Those with groups, also with groups of neighbouring keys: executors then seldom meet on a leaf. */
const local = (['psmr', 'opt-psmr', 'keyed'] as const).map((model) => {
  return { name: `${model}, locality ${LOCALITY}`, model, locality: LOCALITY };
});
const cells: Cell[] = [];
const lines: string[][] = [['workload', 'executors', 'model', 'commands/s (min-max)', 'x smr (min-max)']];
for (const workload of chosen?.split(',') ?? ['inserts+deletes', 'updates', 'reads']) {
  const mix = workloadOf(workload);
  if (mix === undefined) throw new Error(`--workloads: ${workload} is none`);
  for (const executors of quick ? [2] : [1, 2]) {
    const contenders = executors === 1 ? models : [...models, ...local];
    const rates = new Map<Contender, number[]>(contenders.map((one) => [one, []]));
    const last = new Map<Contender, Drained>();
    for (let run = 0; run < RUNS; run++) {
      const commands = drawCommands(mix, 'uniform', ENTRIES, COMMANDS, 1 + run);
      for (let turn = 0; turn < contenders.length; turn++) {
        const contender = contenders[(turn + run) % contenders.length];
        const { model, locality } = contender;
        const ring = ringFor(COMMANDS + 1);
        const timing = await drain({ model, executors, commands, ring, locality, warmUp: WARM_UP });
        last.set(contender, timing);
        rates.get(contender)?.push(timing.perSecond);
      }
      process.stderr.write(`drain: ${workload}, ${executors} executors, run ${run + 1} of ${RUNS}\n`);
    }
    const base = rates.get(contenders.find(({ model }) => model === 'smr') as Contender) as number[];
    for (const [contender, list] of rates) {
      const { name, model, locality } = contender;
      const rate = spread(list);
      const ratio = spread(list.map((one, run) => one / base[run]));
      const shown = ({ median, min, max }: Spread) => `${short(median)} (${short(min)}-${short(max)})`;
      lines.push([workload, String(executors), name, shown(rate), shown(ratio)]);
      const plan = { model, executors, workload, distribution: 'uniform' as const, window: COMMANDS, replicas: 1 };
      const { stats } = last.get(contender) as Drained;
      cells.push({
        ...plan,
        clients: 0,
        kind: 'drain',
        ...(locality > 1 && { locality }),
        oversubscribed: false,
        commandsPerSecond: rate,
        commands: COMMANDS,
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
