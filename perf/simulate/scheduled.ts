/**
 * sdpe: one scheduler takes commands in their order, keeps those that are not done in the conflict-ordered set, and gives
 * to workers what has no predecessor there. The scheduler is one thread: that is the model's bound.
 */
import { SET_SIZE } from '../../workers/models/sdpe.ts';
import { READ } from './commands.ts';
import type { Gate, Steps } from './events.ts';
import type { Setting, Tally } from './setting.ts';

/** Commands that a worker does before it shows that they are done, as the real one. */
const STEP = 32;

/** One worker and its queue. */
interface Lane {
  /** Commands given and not taken yet. */
  readonly queue: number[];
  /** Those it has done and the scheduler has not seen. */
  done: number[];
  /** Given, and not seen done. */
  load: number;
  readonly arrived: Gate;
}

/** Who is pending on a key: commands in order, as the set's KeyIndex sees them. */
interface KeyState {
  writer: number;
  readers: number[];
  pending: number;
}

/** The set: what depends on what. Commands are named by their place in the order. */
class PendingSet {
  pending = 0;
  readonly ready: number[] = [];
  private readonly setting: Setting;
  private readonly pairwise: boolean;
  private readonly states = new Map<number, KeyState>();
  private readonly predecessors: Uint16Array;
  private readonly successors = new Map<number, number[]>();
  /** Those that write among the pending ones. */
  private writers = 0;

  constructor(setting: Setting, pairwise: boolean) {
    this.setting = setting;
    this.pairwise = pairwise;
    this.predecessors = new Uint16Array(setting.commands.count);
  }

  /** Takes a command in. @returns what that costs, its removal included. */
  insert(place: number): number {
    const { calibration, commands } = this.setting;
    const writes = commands.kinds[place] !== READ;
    const key = commands.keys[place];
    let state = this.states.get(key);
    if (state === undefined) {
      state = { writer: -1, readers: [], pending: 0 };
      this.states.set(key, state);
    }
    if (writes) {
      if (state.readers.length > 0) for (const reader of state.readers) this.depend(reader, place);
      else if (state.writer >= 0) this.depend(state.writer, place);
      state.readers = [];
      state.writer = place;
    } else {
      if (state.writer >= 0) this.depend(state.writer, place);
      state.readers.push(place);
    }
    state.pending++;
    const { pending } = this;
    const compared = writes ? pending : this.writers;
    this.pending++;
    if (writes) this.writers++;
    if (this.predecessors[place] === 0) this.ready.push(place);
    if (!this.pairwise) return calibration.set;
    return (
      calibration.pairwiseSet + compared * calibration.compareWrite + (pending - compared) * calibration.compareRead
    );
  }

  private depend(before: number, place: number): void {
    const list = this.successors.get(before);
    if (list === undefined) this.successors.set(before, [place]);
    else list.push(place);
    this.predecessors[place]++;
  }

  remove(place: number): void {
    const { commands } = this.setting;
    const key = commands.keys[place];
    const state = this.states.get(key) as KeyState;
    if (state.writer === place) state.writer = -1;
    else {
      const at = state.readers.indexOf(place);
      if (at >= 0) state.readers.splice(at, 1);
    }
    if (--state.pending === 0) this.states.delete(key);
    for (const after of this.successors.get(place) ?? []) if (--this.predecessors[after] === 0) this.ready.push(after);
    this.successors.delete(place);
    this.pending--;
    if (commands.kinds[place] !== READ) this.writers--;
  }
}

/** What scheduler and workers share. */
interface Pool {
  readonly lanes: readonly Lane[];
  /** The scheduler waits here for workers. */
  readonly progress: Gate;
  over: boolean;
}

function* schedule(setting: Setting, pool: Pool, set: PendingSet): Steps {
  const { commands, calibration, executors } = setting;
  const { lanes } = pool;
  for (let next = 0; ; ) {
    let time = 0;
    let worked = false;
    for (const lane of lanes) {
      if (lane.load === 0) continue;
      time += calibration.lane / 2;
      if (lane.done.length === 0) continue;
      worked = true;
      for (const place of lane.done) set.remove(place);
      lane.load -= lane.done.length;
      lane.done = [];
    }
    while (next < commands.count && set.pending < SET_SIZE) {
      time += set.insert(next++);
      worked = true;
    }
    const given: Lane[] = [];
    const ready = set.ready.splice(0);
    for (const _ of ready) {
      let lane = lanes[0];
      for (const other of lanes) if (other.load < lane.load) lane = other;
      lane.load++;
      given.push(lane);
      time += calibration.dispatch + calibration.choose * executors;
    }
    if (ready.length > 0) time += (calibration.lane / 2) * executors;
    if (set.pending === 0 && next === commands.count) break;
    if (!worked) {
      yield pool.progress;
      continue;
    }
    yield time;
    // Workers see nothing before it is published.
    for (const [i, place] of ready.entries()) given[i].queue.push(place);
    let waking = 0;
    for (const lane of given) waking += lane.arrived.open();
    if (waking > 0) yield waking;
  }
  pool.over = true;
  for (const lane of lanes) lane.arrived.open();
}

function* work(setting: Setting, pool: Pool, lane: Lane): Steps {
  const { calibration, commands, service } = setting;
  for (;;) {
    while (lane.queue.length === 0) {
      if (pool.over) return;
      yield lane.arrived;
    }
    const step = lane.queue.splice(0, STEP);
    let time = calibration.call;
    for (const place of step) time += service[commands.kinds[place]] + calibration.handover;
    yield time;
    lane.done.push(...step);
    const waking = pool.progress.open();
    if (waking > 0) yield waking;
  }
}

export function scheduled(setting: Setting, tally: Tally, pairwise: boolean): void {
  const { simulation, calibration, executors } = setting;
  const lanes = Array.from({ length: executors }, (): Lane => {
    return { queue: [], done: [], load: 0, arrived: simulation.gate(false, calibration.transfer) };
  });
  const pool: Pool = { lanes, progress: simulation.gate(false, calibration.transfer), over: false };
  simulation.start('scheduler', schedule(setting, pool, new PendingSet(setting, pairwise)));
  for (const [i, lane] of lanes.entries()) {
    tally.executors.push(simulation.start(`worker ${i}`, work(setting, pool, lane)));
  }
}
