/** The experiment from the command line to the report; `npm run perf:models` and `sabtree bench` both are this. */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { FlagError } from '../support/flags.ts';
import { Progress } from '../support/progress.ts';
import { describePoint } from './cells.ts';
import { describeCell, Experiment, type Observer, stepsOf } from './experiment.ts';
import { BENCH_HELP, type BenchOptions, benchOptions } from './flags.ts';
import { renderHtml } from './html.ts';
import { thisMachine } from './machine.ts';
import { renderText } from './terminal.ts';
import type { CellPlan, Report } from './types.ts';

/** Milliseconds between two lines of progress where standard error is no terminal. */
const LINE_EVERY = 15_000;

/** Asked before the experiment: nobody should learn after ten minutes that a file cannot be written. */
export function checkWritable(file: string): void {
  try {
    closeSync(openSync(file, 'a'));
  } catch (error) {
    throw new FlagError(`--html: ${(error as Error).message}`);
  }
}

function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** Runs the experiment with its progress on standard error. */
async function measure(options: BenchOptions, observer: Observer): Promise<Report> {
  const steps = stepsOf(options);
  const start = performance.now();
  let done = 0;
  let skippedSteps = 0;
  let now: CellPlan | undefined;
  const progress = new Progress(
    'bench',
    () => {
      // Steps that were skipped took no time, and say nothing about that of the others.
      const taken = done - skippedSteps;
      const left = taken === 0 ? undefined : ((performance.now() - start) / 1000 / taken) * (steps - done);
      const note = left === undefined ? 'opening' : left === 0 ? 'done' : `${duration(left)} left`;
      return { done: done / steps, note: now === undefined ? note : `${note}; ${describePoint(now)}` };
    },
    LINE_EVERY,
  );
  try {
    const cells = await Experiment.run(options, {
      ...observer,
      step(more, cell) {
        done += more;
        if (more > 1) skippedSteps += more;
        now = cell;
      },
      skipped: (cell, reason) => progress.say(`skipped: ${describeCell(cell)}: ${reason}`),
      wrong: (cell, problem) => progress.say(`WRONG: ${describeCell(cell)}: ${problem}`),
    });
    return { machine: thisMachine(), cells };
  } finally {
    progress.stop();
  }
}

/**
 * Does what the flags ask for; answers the exit code.
 * @param observer its `signal` ends the experiment.
 * @throws FlagError for wrong flags; whatever ended a thread; the reason of an aborted signal.
 */
export async function bench(args: string[], observer: Pick<Observer, 'signal' | 'beforeVerify'> = {}): Promise<number> {
  const options = benchOptions(args);
  if (options === undefined) {
    process.stdout.write(BENCH_HELP);
    return 0;
  }
  const { html, json } = options;
  if (html !== undefined) checkWritable(html);
  const report = await measure(options, observer);
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : renderText(report));
  if (html !== undefined) writeFileSync(html, renderHtml(report));
  const wrong = report.cells.filter(({ verified }) => !verified);
  for (const cell of wrong) process.stderr.write(`not verified: ${describeCell(cell)}\n`);
  return wrong.length === 0 ? 0 : 1;
}
