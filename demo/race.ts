/** A race: the same work in every model, in turns, and bars of what each managed. */
import { type ModelName, modelNames } from 'sabtree';
import { short } from './charts.ts';
import { Session, type Setup } from './session.ts';

/** Rounds; in every second one the models come the other way about. */
export const ROUNDS = 2;
/** Milliseconds of a run, and before it, so that everything is warm. */
const RUN = 1200;
const WARM = 300;

/** What to do while it runs. */
export interface RaceHooks {
  /** Parts done, 0 to 1, and what runs now: which model, in which round. */
  progress(done: number, model: ModelName, round: number): void;
  /** Whether to stop. */
  stopped(): boolean;
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Commands per second of one model, in a store of its own. */
async function run(setup: Setup): Promise<number> {
  const session = await Session.open(setup);
  try {
    await session.start(() => {});
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
  private readonly line: HTMLElement;
  private readonly bar: HTMLElement;
  private readonly track: HTMLElement;
  private readonly number: HTMLElement;

  constructor(list: HTMLElement, model: ModelName) {
    const line = document.createElement('li');
    line.innerHTML = `<span></span><div class="track"><div class="bar" style="width: 0"></div></div><span class="rate">–</span>`;
    (line.firstElementChild as HTMLElement).textContent = model;
    this.line = line;
    this.track = line.querySelector('.track') as HTMLElement;
    this.bar = line.querySelector('.bar') as HTMLElement;
    this.number = line.querySelector('.rate') as HTMLElement;
    list.append(line);
  }

  /** Whether this model runs now. */
  set runs(yes: boolean) {
    if (yes) this.line.setAttribute('aria-current', 'true');
    else this.line.removeAttribute('aria-current');
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
    hooks.progress(i / runs.length, model, 1 + Math.floor(i / modelNames.length));
    const lane = lanes.get(model) as Lane;
    lane.runs = true;
    try {
      lane.rates.push(await run({ ...setup, model, replicas: model === 'direct' ? 1 : setup.replicas }));
    } finally {
      lane.runs = false;
    }
    const most = Math.max(...[...lanes.values()].flatMap(({ rates }) => rates));
    for (const each of lanes.values()) each.draw(most);
  }
  return resultOf([...lanes].map(([model, { median }]) => [model, median]));
}

/** What came out, in words: the models that keep replicas in the order of their rates; direct is no match for them. */
export function resultOf(rates: readonly (readonly [ModelName, number])[]): string {
  const ran = rates.filter(([model, rate]) => rate > 0 && model !== 'direct').sort(([, a], [, b]) => b - a);
  if (ran.length === 0) return 'Stopped before a model with replicas had run.';
  const stopped = ran.length < modelNames.length - 1 ? 'Stopped. Of those that have run' : 'Of the models';
  const [[first, most], ...others] = ran.map(([model, rate]) => [model, short(Math.round(rate))] as const);
  const rest = others.map(([model, rate]) => `${model} ${rate}`).join(', ');
  const order = rest === '' ? '' : `, before ${rest}`;
  return `${stopped} with replicas ${first} was the fastest: ${most} commands a second${order}.`;
}
