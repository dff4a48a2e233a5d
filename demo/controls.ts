/** What one can choose, kept in the page's address too, so that a choice can be passed on. */
import { type ModelName, modelNames } from 'sabtree';
import { type Load, MIXES, type Mix, MOST_WORKERS, SPREADS, type Spread } from './loads.ts';
import type { Setup } from './session.ts';

/** One line about each model. */
export const MODELS: Readonly<Record<ModelName, string>> = {
  direct: 'No replicas and no order: every load thread writes the one tree itself, under latches.',
  smr: 'The classic: one stream, one executor, one command after the other.',
  pipelined: 'One stream; receiving, executing and answering each have a thread of their own.',
  sdpe: 'One stream; a scheduler finds out which commands are independent, and a pool executes those in parallel.',
  'sdpe-pairwise': 'As sdpe, but the scheduler compares each command with every one that waits.',
  'execute-verify':
    'Executes batches in parallel on a guess, compares the replicas, and undoes a batch if the guess was wrong.',
  psmr: 'P-SMR: a stream for each executor; an insert or a delete, which may change the tree’s structure, stops them all.',
  'opt-psmr':
    'Optimistic P-SMR: inserts and deletes run in parallel too; only what does not fit into its leaf waits for a sync point.',
  keyed: 'Each key has its executor, and nodes split in place: no command on one key ever stops the others.',
};

const BATCHES = [1, 16, 64, 256, 1024];
const KEYS = [100, 10_000, 100_000, 1_000_000];

/** Threads that one can choose: a machine of few cores shows little beyond twice as many. */
const CORES = navigator.hardwareConcurrency;

/** What the page begins with. */
function defaults(): Setup {
  return {
    model: 'opt-psmr',
    executors: Math.max(1, Math.min(4, CORES >> 1)) + (CORES < 4 ? 1 : 0),
    replicas: 2,
    workers: Math.max(1, Math.min(4, CORES >> 2)),
    load: { mix: 'churn', spread: 'uniform', batch: 64, keys: 100_000 },
  };
}

interface Choice {
  readonly values: readonly (string | number)[];
  readonly text: (value: string | number) => string;
}

const count = (most: number): Choice => ({
  values: Array.from({ length: most }, (_, i) => i + 1),
  text: String,
});

const CHOICES: Readonly<Record<string, Choice>> = {
  model: { values: modelNames, text: String },
  executors: count(8),
  replicas: count(4),
  workers: count(MOST_WORKERS),
  batch: { values: BATCHES, text: (n) => (n === 1 ? 'one by one' : `${n} at a time`) },
  mix: { values: Object.keys(MIXES), text: (name) => MIXES[name as Mix] },
  spread: { values: Object.keys(SPREADS), text: (name) => SPREADS[name as Spread] },
  keys: { values: KEYS, text: (n) => Number(n).toLocaleString('en') },
};

/** The form with the choices. */
export class Controls {
  private readonly form: HTMLFormElement;
  private readonly says: HTMLElement;

  /** @param changed called with what was chosen before and now. */
  constructor(form: HTMLFormElement, says: HTMLElement, changed: (setup: Setup) => void) {
    this.form = form;
    this.says = says;
    const wanted = new URLSearchParams(location.search);
    const first = defaults();
    const flat: Record<string, string | number> = { ...first, ...first.load } as never;
    for (const [name, { values, text }] of Object.entries(CHOICES)) {
      const select = this.select(name);
      for (const value of values) select.add(new Option(text(value), String(value)));
      const asked = wanted.get(name);
      select.value = String(asked !== null && values.map(String).includes(asked) ? asked : flat[name]);
    }
    form.addEventListener('change', () => {
      this.show();
      history.replaceState(null, '', `?${new URLSearchParams(new FormData(form) as never)}`);
      changed(this.setup);
    });
    form.addEventListener('submit', (event) => event.preventDefault());
    this.show();
  }

  private select(name: string): HTMLSelectElement {
    return this.form.elements.namedItem(name) as HTMLSelectElement;
  }

  private show(): void {
    const model = this.select('model').value as ModelName;
    this.says.textContent = MODELS[model];
    this.select('replicas').disabled = model === 'direct';
    this.select('executors').disabled = ['direct', 'smr', 'pipelined'].includes(model);
  }

  /** What is chosen now. */
  get setup(): Setup {
    const number = (name: string) => Number(this.select(name).value);
    const load: Load = {
      mix: this.select('mix').value as Mix,
      spread: this.select('spread').value as Spread,
      batch: number('batch'),
      keys: number('keys'),
    };
    const model = this.select('model').value as ModelName;
    const replicas = model === 'direct' ? 1 : number('replicas');
    return { model, executors: number('executors'), replicas, workers: number('workers'), load };
  }

  /** Lets one choose, or not. */
  set enabled(yes: boolean) {
    for (const element of this.form.elements) (element as HTMLSelectElement).disabled = !yes;
    if (yes) this.show();
  }
}
