/**
 * What a store must hold that was killed: everything that was answered, anything that was under way, and nothing else.
 */
import { after, type Life, type Step, stepsOf } from './plan.ts';

/** What one operation did to one key: its place among the operations of its client, and what the key has behind it. */
interface Entry {
  readonly index: number;
  readonly value: number | undefined;
}

/** What is known of the operations of one life. */
export class Ledger {
  private readonly base: ReadonlyMap<number, number>;
  private readonly clients: { readonly answered: Set<number>; readonly steps: Generator<Step, never> }[];
  private readonly window: number;
  /** Operations answered. */
  acknowledged = 0;

  /** @param base what the store had when the life began. */
  constructor(life: Pick<Life, 'seed' | 'life' | 'clients' | 'window'>, base: ReadonlyMap<number, number>) {
    this.base = base;
    this.window = life.window;
    this.clients = Array.from({ length: life.clients }, (_, client) => ({
      answered: new Set<number>(),
      steps: stepsOf(life, client),
    }));
  }

  acknowledge(client: number, index: number): void {
    this.clients[client].answered.add(index);
    this.acknowledged++;
  }

  /** Compares what the store has with what was answered. Call it once. @returns what is wrong, for people */
  verify(found: ReadonlyMap<number, number>): string[] {
    const wrong: string[] = [];
    const known = new Set<number>();
    for (const [client, { answered, steps }] of this.clients.entries()) {
      // No client has more under way than its window.
      const issued = Array.from({ length: answered.size + this.window }, () => steps.next().value);
      const byKey = new Map<number, Entry[]>();
      for (const [index, step] of issued.entries()) {
        for (const key of step.keys) {
          const entries = byKey.get(key) ?? [];
          const before = entries.length === 0 ? this.base.get(key) : entries[entries.length - 1].value;
          entries.push({ index, value: after(step, before) });
          byKey.set(key, entries);
        }
      }
      /** By key: the index of the last operation that can be the last one carried out; -1: none of them. */
      const possible = new Map<number, number[]>();
      for (const [key, entries] of byKey) {
        known.add(key);
        const least = entries.findLastIndex(({ index }) => answered.has(index));
        const value = found.get(key);
        const fits: number[] = [];
        if (least < 0 && Object.is(this.base.get(key), value)) fits.push(-1);
        for (let i = Math.max(0, least); i < entries.length; i++) {
          if (Object.is(entries[i].value, value)) fits.push(entries[i].index);
        }
        if (fits.length === 0) {
          const should = least < 0 ? this.base.get(key) : entries[least].value;
          wrong.push(`key ${key} has ${value}; after the last operation that was answered it had ${should}`);
        } else possible.set(key, fits);
      }
      for (const [index, { name, keys }] of issued.entries()) {
        if (keys.length < 2) continue;
        const of = keys.map((key) => possible.get(key) ?? []);
        const done = of.some((fits) => fits.length > 0 && fits.every((at) => at >= index));
        const open = of.some((fits) => fits.length > 0 && fits.every((at) => at < index));
        if (done && open)
          wrong.push(`client ${client}: ${name} ${index} of keys ${keys.join()} was carried out in part`);
      }
    }
    for (const [key, value] of this.base) {
      if (!known.has(key) && !Object.is(found.get(key), value)) {
        wrong.push(`key ${key} had ${value} and was not touched; it has ${found.get(key)}`);
      }
    }
    for (const key of found.keys())
      if (!known.has(key) && !this.base.has(key)) wrong.push(`key ${key} came from nowhere`);
    return wrong;
  }
}
