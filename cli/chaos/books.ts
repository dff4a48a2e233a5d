/**
 * What the clients of a chaos run know, in memory that outlives them: a client's thread may be ended at any instruction.
 * Before a client sends an operation it writes down that it does, and after its answer, that it is answered.
 *
 * Every client has keys of its own and at most one operation under way on each: its n-th one puts the value n if n is
 * odd, and deletes if n is even. So what must be there follows from the two numbers. Besides, all clients add to the same
 * hot keys, and write the same pairs of keys with one command each.
 */

/** Clients of one round, those that come in place of ended ones included. */
export const MOST_CLIENTS = 64;
/** Keys of each client. */
export const OWN_KEYS = 512;
/** Keys that all clients add to. */
export const HOT_KEYS = 8;
/** Pairs of keys that are always written together. */
export const PAIRS = 4;
/** Additions to one hot key of which each old value is marked. */
const MARKS = 1 << 20;

const FIRST_HOT = 0;
const FIRST_PAIR = 100;
const FIRST_OWN = 1000;
/** Above all keys that the clients change: entries that only make the tree large. */
export const FIRST_BALLAST = 1_000_000;

export const hotKey = (i: number) => FIRST_HOT + i;
export const pairOf = (i: number): [number, number] => [FIRST_PAIR + 2 * i, FIRST_PAIR + 2 * i + 1];
export const ownKey = (client: number, i: number) => FIRST_OWN + client * OWN_KEYS + i;

/** Numbers of words before the per-key ones. */
const CLOCK = 0;
const STOP = 1;
const HEAD = 2;

/** Something that must not be: an answered change that is gone, one made twice, or a wrong answer. */
export interface Violation {
  readonly what: 'lost' | 'twice' | 'wrong';
  readonly text: string;
}

/** The clients' books: a view of memory that all threads of a round share. */
export class Books {
  readonly memory: SharedArrayBuffer;
  private readonly words: Int32Array;
  private readonly marks: Int32Array;
  private readonly counts: Float64Array;

  constructor(memory?: SharedArrayBuffer) {
    const words = HEAD + 2 * MOST_CLIENTS * OWN_KEYS + 2 * HOT_KEYS + MOST_CLIENTS;
    const wordBytes = (words * 4 + 7) & ~7;
    const markBytes = (HOT_KEYS * MARKS) / 8;
    this.memory = memory ?? new SharedArrayBuffer(wordBytes + markBytes + MOST_CLIENTS * 8);
    this.words = new Int32Array(this.memory, 0, words);
    this.marks = new Int32Array(this.memory, wordBytes, markBytes / 4);
    this.counts = new Float64Array(this.memory, wordBytes + markBytes, MOST_CLIENTS);
  }

  /** A time that all threads share. */
  tick(): number {
    return Atomics.add(this.words, CLOCK, 1);
  }

  get stopped(): boolean {
    return Atomics.load(this.words, STOP) === 1;
  }

  stop(): void {
    Atomics.store(this.words, STOP, 1);
  }

  private sentAt(client: number, i: number): number {
    return HEAD + client * OWN_KEYS + i;
  }

  private answeredAt(client: number, i: number): number {
    return HEAD + MOST_CLIENTS * OWN_KEYS + client * OWN_KEYS + i;
  }

  private hotAt(i: number, answered: boolean): number {
    return HEAD + 2 * MOST_CLIENTS * OWN_KEYS + 2 * i + (answered ? 1 : 0);
  }

  /** Notes the next operation on an own key; its number. */
  send(client: number, i: number): number {
    return Atomics.add(this.words, this.sentAt(client, i), 1) + 1;
  }

  /** Operations sent on an own key. */
  sent(client: number, i: number): number {
    return Atomics.load(this.words, this.sentAt(client, i));
  }

  /** Whether the newest operation on an own key is not answered yet. */
  isUnderWay(client: number, i: number): boolean {
    return Atomics.load(this.words, this.answeredAt(client, i)) !== this.sent(client, i);
  }

  answered(client: number, i: number, n: number): void {
    Atomics.store(this.words, this.answeredAt(client, i), n);
  }

  sendAdd(i: number): void {
    Atomics.add(this.words, this.hotAt(i, false), 1);
  }

  /** Notes the answer to an addition: the value before it, which no other addition may have found. */
  addAnswered(i: number, before: number): Violation | undefined {
    Atomics.add(this.words, this.hotAt(i, true), 1);
    if (before >= MARKS) return undefined;
    const bit = i * MARKS + before;
    const old = Atomics.or(this.marks, bit >> 5, 1 << (bit & 31));
    if (((old >>> (bit & 31)) & 1) === 0) return undefined;
    return { what: 'twice', text: `two additions to hot key ${hotKey(i)} found ${before}` };
  }

  /** Counts acknowledged commands. */
  count(client: number, commands: number): void {
    this.counts[client] += commands;
  }

  get acknowledged(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  /** Compares a store's content with the books. Nobody writes any more. */
  judge(clients: number, get: (key: number) => number | undefined): Violation[] {
    const { words } = this;
    const found: Violation[] = [];
    for (let client = 0; client < clients; client++) {
      for (let i = 0; i < OWN_KEYS; i++) {
        const sent = words[this.sentAt(client, i)];
        const answered = words[this.answeredAt(client, i)];
        const value = get(ownKey(client, i));
        const states = sent === answered ? [sent] : [answered, sent];
        if (states.some((n) => value === stateAfter(n))) continue;
        const text = `key ${ownKey(client, i)} is ${value} after ${answered} operations answered and ${sent} sent`;
        found.push({ what: 'lost', text });
      }
    }
    for (let i = 0; i < HOT_KEYS; i++) {
      const sent = words[this.hotAt(i, false)];
      const answered = words[this.hotAt(i, true)];
      const value = get(hotKey(i)) ?? 0;
      const text = `hot key ${hotKey(i)} is ${value} after ${answered} additions answered and ${sent} sent`;
      if (value < answered) found.push({ what: 'lost', text });
      if (value > sent) found.push({ what: 'twice', text });
    }
    for (let i = 0; i < PAIRS; i++) {
      const [a, b] = pairOf(i).map(get);
      if (a !== b) found.push({ what: 'lost', text: `the pair ${pairOf(i).join(' and ')} is ${a} and ${b}` });
    }
    return found;
  }
}

/** What stands on an own key after its n-th operation. */
export function stateAfter(n: number): number | undefined {
  return n % 2 === 1 ? n : undefined;
}
