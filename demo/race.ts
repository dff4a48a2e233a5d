/** A race: the same work in every model, in turns, and bars of what each managed. */
import { type ModelName, modelNames } from 'sabtree';
import { short } from './charts.ts';
import { Session, type Setup } from './session.ts';

/** Rounds; in every second one the models come the other way about. */
const ROUNDS = 2;
/** Milliseconds of a run, and before it, so that everything is warm. */
const RUN = 1200;
const WARM = 300;

/** What to do while it runs. */
export interface RaceHooks {
  /** Parts done, 0 to 1, and what is run now. */
  progress(done: number, what: string): void;
  /** Whether to stop. */
  stopped(): boolean;
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Commands per second of one model, in a store of its own. */
async function run(setup: Setup): Promise<number> {
  const session = await Session.open(setup, () => {});
  try {
    await wait(WARM);
    const before = session.commands;
    const start = performance.now();
    await wait(RUN);
    return ((session.commands - before) * 1000) / (performance.now() - start);
  } finally {
    await session.close();
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** One model's line. */
class Lane {
  readonly rates: number[] = [];
  private readonly bar: HTMLElement;
  private readonly track: HTMLElement;
  private readonly number: HTMLElement;

  constructor(list: HTMLElement, model: ModelName) {
    const line = document.createElement('li');
    line.innerHTML = `<span></span><div class="track"><div class="bar" style="width: 0"></div></div><output>–</output>`;
    (line.firstElementChild as HTMLElement).textContent = model;
    this.track = line.querySelector('.track') as HTMLElement;
    this.bar = line.querySelector('.bar') as HTMLElement;
    this.number = line.querySelector('output') as HTMLElement;
    list.append(line);
  }

  get median(): number {
    return this.rates.length === 0 ? 0 : median(this.rates);
  }

  draw(most: number): void {
    if (this.rates.length === 0) return;
    const part = (rate: number) => `${(100 * rate) / most}%`;
    this.bar.style.width = part(this.median);
    this.number.textContent = `${short(this.median)}/s`;
    for (const mark of this.track.querySelectorAll('.mark')) mark.remove();
    for (const rate of this.rates) {
      const mark = document.createElement('div');
      mark.className = 'mark';
      mark.style.left = part(rate);
      this.track.append(mark);
    }
  }
}

/** Shows the lanes before anybody runs. */
export function emptyLanes(list: HTMLElement): void {
  for (const model of modelNames) new Lane(list, model);
}

/** Runs the race. @returns what came out, in words */
export async function race(list: HTMLElement, setup: Setup, hooks: RaceHooks): Promise<string> {
  list.replaceChildren();
  const lanes = new Map(modelNames.map((model) => [model, new Lane(list, model)]));
  const runs = Array.from({ length: ROUNDS }, (_, i) => (i % 2 === 0 ? modelNames : [...modelNames].reverse())).flat();
  for (const [i, model] of runs.entries()) {
    if (hooks.stopped()) break;
    hooks.progress(i / runs.length, model);
    const replicas = model === 'direct' ? 1 : setup.replicas;
    lanes.get(model)?.rates.push(await run({ ...setup, model, replicas }));
    const most = Math.max(...[...lanes.values()].flatMap(({ rates }) => rates));
    for (const lane of lanes.values()) lane.draw(most);
  }
  const order = [...lanes].filter(([, { median }]) => median > 0).sort(([, a], [, b]) => b.median - a.median);
  return order.map(([model, { median }]) => `${model} ${short(median)} per second`).join(', ');
}
