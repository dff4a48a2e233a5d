/**
 * The commands of one client, and what each must answer.
 *
 * The key space is an array of slots; a key is its slot's number, and slot % clients is the client that owns it. Clients
 * name single keys of their own only. Commands on one key take effect in the order in which they were given, so each
 * client knows what all its keys hold at any time, whatever the others do: its answers can be checked one by one, and
 * after a run the union of what the clients know is what the store must hold.
 *
 *   slot   0  1  2  3  4  5  6  7 ...       client 0 of 2 owns 0, 2, 4, 6: its places 0, 1, 2, 3
 *   book   5  .  7  3  .  .  9  . ...       the value that must be there; NaN for none
 */
import type { Command } from '../../index.ts';
import { randomFractions, scrambled, Zipf } from './distributions.ts';
import type { DistributionName } from './types.ts';
import { type Kind, keepsKeys, type Mix } from './workloads.ts';

/** What every slot must hold, over all clients, in shared memory. NaN: no entry. */
export type Book = Float64Array<SharedArrayBuffer>;

/** A book with nothing in it. */
export function emptyBook(slots: number): Book {
  return new Float64Array(new SharedArrayBuffer(slots * Float64Array.BYTES_PER_ELEMENT)).fill(Number.NaN);
}

/** One client's part of the work. */
export interface Share {
  readonly client: number;
  readonly clients: number;
  /** Entries at the beginning, over all clients. */
  readonly entries: number;
  readonly seed: number;
}

/** What must hold for a range's answer. */
export interface ScanExpectation {
  readonly from: number;
  readonly limit: number;
  /** The entry at `from` is there: no key comes or goes. */
  readonly hit: boolean;
}

export type Expectation = number | boolean | ScanExpectation;

/** The same order of keys for all clients and models. */
const ORDER_SEED = 20120;

/**
 * The endless sequence of a client's commands. Where keys come and go at random (`toggles`), any place may hold an entry
 * or not. Otherwise the entries are a queue: the places order[tail] to order[head - 1] hold one, the newest last.
 */
export class CommandSource {
  /** The window made last, and what it must answer. */
  readonly commands: Command<number, number>[] = [];
  readonly expected: Expectation[] = [];
  private readonly mix: Mix;
  private readonly distribution: DistributionName;
  private readonly share: Share;
  private readonly book: Book;
  /** Places of this client. */
  private readonly places: number;
  private readonly order: Uint32Array;
  private readonly toggles: boolean;
  private readonly zipf: Zipf | undefined;
  private readonly fraction: () => number;
  /** Kinds with the fraction below which each is drawn. */
  private readonly dice: readonly (readonly [kind: Kind, below: number])[];
  private readonly hit: boolean;
  private head: number;
  private tail = 0;
  /** Entries of this client. */
  private count: number;
  private cursor = 0;
  private version = 0;

  constructor(mix: Mix, distribution: DistributionName, share: Share, book: Book) {
    const { client, clients, entries, seed } = share;
    this.mix = mix;
    this.distribution = distribution;
    this.share = share;
    this.book = book;
    this.places = Math.floor(book.length / clients);
    this.count = Math.floor(entries / clients);
    this.head = this.count;
    this.toggles = (mix.percent.change ?? 0) > 0 && distribution !== 'sequential';
    this.order =
      distribution === 'sequential'
        ? new Uint32Array(this.places).map((_, i) => i)
        : scrambled(this.places, ORDER_SEED);
    if (distribution === 'zipf') this.zipf = new Zipf(this.toggles ? this.places : this.count);
    this.fraction = randomFractions(seed + 7919 * client);
    let below = 0;
    this.dice = (Object.entries(mix.percent) as [Kind, number][]).map(([kind, percent]) => {
      below += percent / 100;
      return [kind, below];
    });
    this.hit = keepsKeys(mix);
  }

  /** The entries to begin with, in the order in which they are to be inserted; enters them in the book. */
  preload(): { keys: Uint32Array; values: Float64Array } {
    const keys = new Uint32Array(this.count).map((_, i) => this.slotOf(this.order[i]));
    const values = new Float64Array(this.count);
    for (let i = 0; i < this.count; i++) values[i] = this.enter(keys[i]);
    return { keys, values };
  }

  /** Makes the next window. The book is then that after all of its commands. */
  next(window: number): void {
    this.commands.length = 0;
    this.expected.length = 0;
    while (this.commands.length < window) this.make(this.draw());
  }

  private draw(): Kind {
    const fraction = this.fraction();
    for (const [kind, below] of this.dice) if (fraction < below) return kind;
    return this.dice[this.dice.length - 1][0];
  }

  private make(kind: Kind): void {
    if (kind === 'change') this.change();
    else if (kind === 'insert') this.grow();
    else if (this.count === 0) this.insert(this.slotOf(this.absentPlace()));
    else this.use(kind, this.slotOf(this.presentPlace()));
  }

  /** A command on a key that is there. */
  private use(kind: Kind, key: number): void {
    const held = this.book[key];
    if (kind === 'read') this.push(['get', key], held);
    else if (kind === 'update') this.push(['update', key, this.enter(key)], true);
    else if (kind === 'modify') this.push(['compareAndSet', key, held, this.enter(key)], true);
    else {
      const { most, varied } = this.mix.scan ?? { most: 1, varied: false };
      const limit = varied ? 1 + Math.floor(this.fraction() * most) : most;
      this.push(['range', { gte: key, limit }], { from: key, limit, hit: this.hit });
    }
  }

  private change(): void {
    if (!this.toggles) {
      // One comes, one goes: the number of entries stays.
      if (this.head - this.tail > Math.floor(this.share.entries / this.share.clients)) this.deleteOldest();
      else this.insertNewest();
      return;
    }
    const key = this.slotOf(this.anyPlace());
    if (Number.isNaN(this.book[key])) this.insert(key);
    else this.delete(key);
  }

  private grow(): void {
    if (this.count < this.places) this.insertNewest();
    else this.deleteOldest();
  }

  private insertNewest(): void {
    this.insert(this.slotOf(this.order[this.head++ % this.places]));
  }

  private deleteOldest(): void {
    this.delete(this.slotOf(this.order[this.tail++ % this.places]));
  }

  private insert(key: number): void {
    this.count++;
    this.push(['insert', key, this.enter(key)], true);
  }

  private delete(key: number): void {
    this.count--;
    this.book[key] = Number.NaN;
    this.push(['delete', key], true);
  }

  private push(command: Command<number, number>, expected: Expectation): void {
    this.commands.push(command);
    this.expected.push(expected);
  }

  /** A value that no other write has, entered in the book. */
  private enter(key: number): number {
    const value = ++this.version * this.share.clients + this.share.client;
    this.book[key] = value;
    return value;
  }

  private slotOf(place: number): number {
    return place * this.share.clients + this.share.client;
  }

  /** A place, with an entry or not. */
  private anyPlace(): number {
    const fraction = this.fraction();
    return this.zipf === undefined ? Math.floor(fraction * this.places) : this.order[this.zipf.rank(fraction)];
  }

  private absentPlace(): number {
    return this.toggles ? this.anyPlace() : this.order[this.head++ % this.places];
  }

  /** A place with an entry. There is at least one. */
  private presentPlace(): number {
    if (this.toggles) {
      let place = this.anyPlace();
      while (Number.isNaN(this.book[this.slotOf(place)])) place = (place + 1) % this.places;
      return place;
    }
    return this.order[(this.tail + this.age()) % this.places];
  }

  /** How far from the oldest entry of the queue the next one to use is. */
  private age(): number {
    const { count, zipf } = this;
    if (this.distribution === 'sequential') return this.cursor++ % count;
    if (zipf === undefined) return Math.floor(this.fraction() * count);
    const rank = zipf.rank(this.fraction()) % count;
    return this.mix.latest ? count - 1 - rank : rank;
  }
}
