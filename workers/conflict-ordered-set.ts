/**
 * The conflict-ordered set of parallel execution (CBASE): commands inserted in their total order, each of which comes
 * out (`get`) once everything it depends on has been removed. Two commands depend on each other if they share a key and
 * at least one of them writes. One thread owns a set.
 *
 * What a new command depends on is found by a DependencyIndex, of which there are two: comparing with every pending
 * command (the original), and looking up its keys.
 */
import {
  CALL_ALL_KEYS,
  MANY_COUNT,
  MANY_KEYS,
  OP_CALL,
  OP_GET,
  OP_GET_ALL,
  OP_HAS,
  OP_LAST_POINT,
  OP_PUT_ALL,
  OP_QUERY,
  OP_SKIP,
  OP_TAKEOVER,
  OPERATION_KEY,
  OPERATION_RESENT,
} from '../layout/operation.ts';

/** Names of the ways to find dependencies. */
export type IndexName = 'pairwise' | 'keys';

/** Whether an operation has a list of keys in its record. */
function namesKeys(op: number): boolean {
  return op >= OP_GET_ALL && op <= OP_QUERY;
}

/** Finds what a command depends on. Ids are those of the set. */
interface DependencyIndex {
  /** Calls `set.depend` for each pending command that `id` depends on, and takes `id` in. */
  insert(id: number): void;
  /** Takes it out. */
  remove(id: number): void;
}

/** Pending commands with their dependencies. */
export class ConflictOrderedSet {
  readonly size: number;
  /** Each pending command's record, as words. */
  readonly records: Int32Array[];
  /** 1 for a command that writes. */
  readonly writes: Uint8Array;
  /** 1 for a command that touches all keys. */
  readonly global: Uint8Array;
  /** Keys it touches, as pairs of words; the first `keyCounts[id]` pairs count. */
  readonly keys: Int32Array[];
  readonly keyCounts: Uint32Array;
  /** 1 while the id stands for a pending command. */
  readonly pending: Uint8Array;
  private readonly index: DependencyIndex;
  private readonly free: Int32Array;
  private freeCount: number;
  private readonly predecessors: Uint32Array;
  private readonly successors: number[][];
  private readonly ready: Int32Array;
  private readyFrom = 0;
  private readyTo = 0;

  /** @param size most commands in the set. */
  constructor(size: number, index: IndexName) {
    this.size = size;
    this.records = Array.from({ length: size }, () => new Int32Array(16));
    this.writes = new Uint8Array(size);
    this.global = new Uint8Array(size);
    this.keys = Array.from({ length: size }, () => new Int32Array(2));
    this.keyCounts = new Uint32Array(size);
    this.pending = new Uint8Array(size);
    this.free = Int32Array.from({ length: size }, (_, i) => size - 1 - i);
    this.freeCount = size;
    this.predecessors = new Uint32Array(size);
    this.successors = Array.from({ length: size }, () => []);
    this.ready = new Int32Array(size);
    this.index = index === 'keys' ? new KeyIndex(this) : new PairwiseIndex(this);
  }

  get full(): boolean {
    return this.freeCount === 0;
  }

  get empty(): boolean {
    return this.freeCount === this.size;
  }

  /** Takes the record at byte `at` of `from` in; it must not be full. @returns the command's id. */
  insert(from: Int32Array, at: number, slots: number): number {
    const id = this.free[--this.freeCount];
    const length = slots << 4;
    let record = this.records[id];
    if (record.length < length) {
      record = new Int32Array(length);
      this.records[id] = record;
    }
    const first = at >> 2;
    for (let i = 0; i < length; i++) record[i] = from[first + i];
    this.classify(id, record);
    this.predecessors[id] = 0;
    this.index.insert(id);
    this.pending[id] = 1;
    if (this.predecessors[id] === 0) this.makeReady(id);
    return id;
  }

  /** What the command touches, and how. */
  private classify(id: number, record: Int32Array): void {
    const op = record[0] & 0xff;
    const keys = this.keys[id];
    this.global[id] = 0;
    this.keyCounts[id] = 1;
    const all = namesKeys(op) && record[MANY_COUNT >> 2] === CALL_ALL_KEYS;
    if (op >= OP_TAKEOVER || (record[0] >>> 8) & OPERATION_RESENT || (op === OP_CALL && all)) {
      // A control command waits for everything, and everything for it; so does one that may write everything. So does a
      // command that comes again, which is rare: it depends on its own first copy, which may be a read.
      this.writes[id] = 1;
      this.keyCounts[id] = 0;
      this.global[id] = 1;
    } else if (op <= OP_LAST_POINT) {
      this.writes[id] = op === OP_GET || op === OP_HAS ? 0 : 1;
      keys[0] = record[OPERATION_KEY >> 2];
      keys[1] = record[(OPERATION_KEY + 4) >> 2];
    } else if (namesKeys(op) && !all) {
      const count = record[MANY_COUNT >> 2];
      const pairs = record.subarray(MANY_KEYS >> 2, (MANY_KEYS >> 2) + 2 * count);
      this.writes[id] = op === OP_PUT_ALL || op === OP_CALL ? 1 : 0;
      this.keyCounts[id] = count;
      if (keys.length < 2 * count) this.keys[id] = pairs.slice();
      else keys.set(pairs);
    } else {
      this.writes[id] = 0;
      this.keyCounts[id] = 0;
      this.global[id] = op === OP_SKIP ? 0 : 1;
    }
  }

  /** Notes that `id` has to wait for `before`. */
  depend(before: number, id: number): void {
    this.successors[before].push(id);
    this.predecessors[id]++;
  }

  private makeReady(id: number): void {
    this.ready[this.readyTo % this.size] = id;
    this.readyTo++;
  }

  /** A command without predecessors that was not given out yet, oldest first; -1 if there is none. */
  get(): number {
    if (this.readyFrom === this.readyTo) return -1;
    const id = this.ready[this.readyFrom % this.size];
    this.readyFrom++;
    return id;
  }

  /** Takes a command that is done out of the set. */
  remove(id: number): void {
    this.index.remove(id);
    this.pending[id] = 0;
    const after = this.successors[id];
    for (let i = 0; i < after.length; i++) if (--this.predecessors[after[i]] === 0) this.makeReady(after[i]);
    after.length = 0;
    this.free[this.freeCount++] = id;
  }
}

/** Compares with every pending command. */
class PairwiseIndex implements DependencyIndex {
  private readonly set: ConflictOrderedSet;

  constructor(set: ConflictOrderedSet) {
    this.set = set;
  }

  insert(id: number): void {
    const { set } = this;
    for (let other = 0; other < set.size; other++) {
      if (set.pending[other] === 1 && this.conflict(other, id)) set.depend(other, id);
    }
  }

  remove(): void {}

  private conflict(a: number, b: number): boolean {
    const { writes, global, keys, keyCounts } = this.set;
    if (writes[a] === 0 && writes[b] === 0) return false;
    if (global[a] === 1 || global[b] === 1) return true;
    for (let i = 0; i < keyCounts[a]; i++) {
      for (let j = 0; j < keyCounts[b]; j++) {
        if (keys[a][2 * i] === keys[b][2 * j] && keys[a][2 * i + 1] === keys[b][2 * j + 1]) return true;
      }
    }
    return false;
  }
}

/** Who is pending on one key: the last writer, and the readers since. Those before are behind these. */
class KeyState {
  low = 0;
  high = 0;
  /** Where it stands in the table. */
  place = 0;
  writer = -1;
  readers: number[] = [];
  /** Pending commands on the key. */
  pending = 0;
}

/**
 * Looks the keys up: O(keys), and O(readers) for a write after reads. The states stand in a hash table of our own, with
 * linear probing: a Map costs several times as much where every command enters a key and takes it out again.
 */
class KeyIndex implements DependencyIndex {
  private readonly set: ConflictOrderedSet;
  private table: (KeyState | undefined)[];
  private mask: number;
  private entries = 0;
  private readonly spare: KeyState[] = [];
  /** The states of each command's keys. */
  private readonly states: KeyState[][];
  /** Pending commands on all keys. */
  private readonly globals: number[] = [];

  constructor(set: ConflictOrderedSet) {
    this.set = set;
    let size = 64;
    while (size < 4 * set.size) size *= 2;
    this.table = new Array<KeyState | undefined>(size).fill(undefined);
    this.mask = size - 1;
    this.states = Array.from({ length: set.size }, () => []);
  }

  private home(low: number, high: number): number {
    const mixed = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
    return (mixed ^ (mixed >>> 15)) & this.mask;
  }

  /** The state of a key, a new one if it has none. */
  private stateOf(low: number, high: number): KeyState {
    const { table, mask } = this;
    let place = this.home(low, high);
    for (let state = table[place]; state !== undefined; state = table[place]) {
      if (state.low === low && state.high === high) return state;
      place = (place + 1) & mask;
    }
    // Commands on many keys may bring more keys than there are places.
    if (2 * ++this.entries > mask) {
      this.grow();
      return this.enter(low, high);
    }
    return this.enterAt(place, low, high);
  }

  private enter(low: number, high: number): KeyState {
    const { table, mask } = this;
    let place = this.home(low, high);
    while (table[place] !== undefined) place = (place + 1) & mask;
    return this.enterAt(place, low, high);
  }

  private enterAt(place: number, low: number, high: number): KeyState {
    const state = this.spare.pop() ?? new KeyState();
    state.low = low;
    state.high = high;
    state.place = place;
    this.table[place] = state;
    return state;
  }

  private grow(): void {
    const old = this.table;
    this.table = new Array<KeyState | undefined>(2 * old.length).fill(undefined);
    this.mask = this.table.length - 1;
    for (const state of old) {
      if (state === undefined) continue;
      let place = this.home(state.low, state.high);
      while (this.table[place] !== undefined) place = (place + 1) & this.mask;
      state.place = place;
      this.table[place] = state;
    }
  }

  /** Takes a state out, and moves those behind it up that could no longer be found. */
  private leave(state: KeyState): void {
    const { table, mask } = this;
    this.entries--;
    let gap = state.place;
    for (let place = (gap + 1) & mask; ; place = (place + 1) & mask) {
      const next = table[place];
      if (next === undefined) break;
      const home = this.home(next.low, next.high);
      // It may move to the gap unless its home lies behind that.
      if (((place - home) & mask) >= ((place - gap) & mask)) {
        table[gap] = next;
        next.place = gap;
        gap = place;
      }
    }
    table[gap] = undefined;
    state.writer = -1;
    state.readers.length = 0;
    this.spare.push(state);
  }

  insert(id: number): void {
    const { set, globals } = this;
    const writes = set.writes[id] === 1;
    if (set.global[id] === 1) {
      for (let other = 0; other < set.size; other++) {
        if (set.pending[other] === 1 && (writes || set.writes[other] === 1)) set.depend(other, id);
      }
      globals.push(id);
      return;
    }
    for (let i = 0; i < globals.length; i++) {
      const before = globals[i];
      if (writes || set.writes[before] === 1) set.depend(before, id);
    }
    const keys = set.keys[id];
    const states = this.states[id];
    for (let i = 0, n = set.keyCounts[id]; i < n; i++) {
      const state = this.stateOf(keys[2 * i], keys[2 * i + 1]);
      states[i] = state;
      state.pending++;
      const { readers } = state;
      if (!writes) {
        if (state.writer >= 0 && state.writer !== id) set.depend(state.writer, id);
        readers.push(id);
        continue;
      }
      // A writer that readers stand behind is behind them too. The command itself may stand here already: a key twice.
      let after = false;
      for (let r = 0; r < readers.length; r++) {
        if (readers[r] === id) continue;
        set.depend(readers[r], id);
        after = true;
      }
      if (!after && state.writer >= 0 && state.writer !== id) set.depend(state.writer, id);
      readers.length = 0;
      state.writer = id;
    }
  }

  remove(id: number): void {
    const { set, globals } = this;
    if (set.global[id] === 1) {
      globals.splice(globals.indexOf(id), 1);
      return;
    }
    const states = this.states[id];
    for (let i = 0, n = set.keyCounts[id]; i < n; i++) {
      const state = states[i];
      if (state.writer === id) state.writer = -1;
      if (state.readers.length > 0) {
        const at = state.readers.indexOf(id);
        if (at >= 0) state.readers.splice(at, 1);
      }
      if (--state.pending === 0) this.leave(state);
    }
  }
}
