/**
 * A discrete-event simulation of threads. A thread is a generator: it yields a number to work so many nanoseconds, or a
 * gate to wait until somebody opens it. Whoever waits spins first and then sleeps, as the real threads do (see
 * workers/waiting.ts); a sleeper costs whoever wakes it, and comes later.
 */

/** Events in order of time; those of the same time in the order in which they were added. */
export class EventQueue {
  private readonly times: number[] = [];
  private readonly numbers: number[] = [];
  private readonly actions: (() => void)[] = [];
  private next = 0;

  get size(): number {
    return this.times.length;
  }

  /** Time of the first event; Infinity if there is none. */
  get first(): number {
    return this.times.length === 0 ? Number.POSITIVE_INFINITY : this.times[0];
  }

  add(time: number, action: () => void): void {
    const { times, numbers, actions } = this;
    const number = this.next++;
    let at = times.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      // Of two at the same time the parent is the older one.
      if (times[parent] <= time) break;
      times[at] = times[parent];
      numbers[at] = numbers[parent];
      actions[at] = actions[parent];
      at = parent;
    }
    times[at] = time;
    numbers[at] = number;
    actions[at] = action;
  }

  /** Takes the first event out. There must be one. */
  take(): () => void {
    const { times, numbers, actions } = this;
    const first = actions[0];
    const time = times.pop() as number;
    const number = numbers.pop() as number;
    const action = actions.pop() as () => void;
    const { length } = times;
    if (length === 0) return first;
    let at = 0;
    for (let child = 1; child < length; child = 2 * at + 1) {
      if (child + 1 < length && this.before(child + 1, times[child], numbers[child])) child++;
      if (!this.before(child, time, number)) break;
      times[at] = times[child];
      numbers[at] = numbers[child];
      actions[at] = actions[child];
      at = child;
    }
    times[at] = time;
    numbers[at] = number;
    actions[at] = action;
    return first;
  }

  private before(at: number, time: number, number: number): boolean {
    return this.times[at] < time || (this.times[at] === time && this.numbers[at] < number);
  }
}

/** What a thread does, step by step. */
export type Steps = Generator<number | Gate, void, void>;

/** How threads wait, and on how many cores they run. */
export interface Machine {
  readonly cores: number;
  /** Nanoseconds that a thread looks before it sleeps. */
  readonly spin: number;
  /** What waking a sleeper on an idle core costs its waker, and until it runs. */
  readonly notify: number;
  readonly wake: number;
}

/** A machine with a core for everybody, who never sleep. */
export const ROOMY: Machine = {
  cores: Number.POSITIVE_INFINITY,
  spin: Number.POSITIVE_INFINITY,
  notify: 0,
  wake: 0,
};

/** How long a thread keeps its core while others want one. */
const QUANTUM = 3e6;

/** Where threads wait for others. */
export class Gate {
  /** Whether waiting here counts as waiting at a barrier. */
  readonly barrier: boolean;
  /** Nanoseconds from the opening until one who looks sees it. */
  readonly latency: number;
  private readonly simulation: Simulation;
  private waiting: Thread[] = [];

  constructor(simulation: Simulation, barrier: boolean, latency = 0) {
    this.simulation = simulation;
    this.barrier = barrier;
    this.latency = latency;
  }

  /** Called by Thread. */
  take(thread: Thread): void {
    this.waiting.push(thread);
  }

  /** Lets all who wait go on. @returns the nanoseconds that this costs the caller. */
  open(): number {
    const { waiting, simulation } = this;
    if (waiting.length === 0) return 0;
    this.waiting = [];
    let cost = 0;
    const { machine, now } = simulation;
    for (const thread of waiting) {
      const asleep = thread.awaken();
      // Starting a core that is idle is what takes long. If there is none, the sleeper just waits for a core.
      const start = asleep && simulation.idle;
      if (start) cost += machine.notify;
      simulation.at(now + (start ? machine.wake : this.latency), thread.go);
    }
    return cost;
  }
}

/** One thread. */
export class Thread {
  readonly name: string;
  /** Nanoseconds spent. */
  busy = 0;
  atBarriers = 0;
  /** Times it slept. */
  parks = 0;
  /** When it ended; undefined before. */
  ended: number | undefined;
  private readonly simulation: Simulation;
  private readonly steps: Steps;
  private holds = false;
  private heldSince = 0;
  private waitsAt: Gate | undefined;
  private waitsSince = 0;
  private waits = 0;

  constructor(simulation: Simulation, name: string, steps: Steps) {
    this.simulation = simulation;
    this.name = name;
    this.steps = steps;
  }

  /** Goes on, as soon as there is a core. */
  readonly go = (): void => {
    const { simulation } = this;
    if (!this.holds) {
      if (!simulation.takeCore(this)) return;
      this.holds = true;
      this.heldSince = simulation.now;
    }
    this.step();
  };

  /** Gets a core from one that leaves it. */
  inherit(): void {
    this.holds = true;
    this.heldSince = this.simulation.now;
    this.simulation.at(this.simulation.now, this.step);
  }

  private readonly step = (): void => {
    const { simulation } = this;
    const { done, value } = this.steps.next();
    if (done || value === undefined) {
      this.ended = simulation.now;
      this.leaveCore();
    } else if (typeof value === 'number') {
      this.busy += value;
      simulation.at(simulation.now + value, this.worked);
    } else {
      this.wait(value);
    }
  };

  private readonly worked = (): void => {
    const { simulation } = this;
    if (simulation.crowded && simulation.now - this.heldSince > QUANTUM) this.leaveCore();
    this.go();
  };

  private leaveCore(): void {
    this.holds = false;
    this.simulation.leaveCore();
  }

  private wait(gate: Gate): void {
    const { simulation } = this;
    this.waitsAt = gate;
    this.waitsSince = simulation.now;
    gate.take(this);
    const wait = ++this.waits;
    const { cores, spin } = simulation.machine;
    // With a core for everybody it is early enough to see at its end whether a wait was a long one.
    if (cores === Number.POSITIVE_INFINITY || spin === Number.POSITIVE_INFINITY) return;
    simulation.at(simulation.now + spin, () => {
      if (this.waits === wait && this.waitsAt !== undefined) this.leaveCore();
    });
  }

  /** Ends a wait; true if the thread slept. Called by Gate. */
  awaken(): boolean {
    const { simulation, waitsAt } = this;
    const waited = simulation.now - this.waitsSince;
    if (waitsAt?.barrier) this.atBarriers += waited;
    this.waitsAt = undefined;
    const asleep = waited > simulation.machine.spin;
    if (asleep) this.parks++;
    return asleep;
  }
}

/** A run of some threads. */
export class Simulation {
  readonly machine: Machine;
  readonly threads: Thread[] = [];
  now = 0;
  private readonly events = new EventQueue();
  private free: number;
  private readonly queue: Thread[] = [];

  constructor(machine: Machine = ROOMY) {
    this.machine = machine;
    this.free = machine.cores;
  }

  at(time: number, action: () => void): void {
    this.events.add(time, action);
  }

  start(name: string, steps: Steps): Thread {
    const thread = new Thread(this, name, steps);
    this.threads.push(thread);
    this.at(this.now, thread.go);
    return thread;
  }

  gate(barrier = false, latency = 0): Gate {
    return new Gate(this, barrier, latency);
  }

  /** Runs until all threads have ended; when that was. @throws if some wait for ever. */
  run(): number {
    const { events, threads } = this;
    while (events.size > 0) {
      this.now = events.first;
      events.take()();
    }
    const stuck = threads.filter(({ ended }) => ended === undefined);
    if (stuck.length > 0)
      throw new Error(`the simulation stands still: ${stuck.map(({ name }) => name)} wait for ever`);
    return Math.max(0, ...threads.map(({ ended }) => ended as number));
  }

  /** Whether a core has nothing to do. */
  get idle(): boolean {
    return this.free > 0;
  }

  /** Whether threads wait for a core. */
  get crowded(): boolean {
    return this.queue.length > 0;
  }

  /** A core for the thread; false: it inherits one later. Called by Thread. */
  takeCore(thread: Thread): boolean {
    if (this.free === 0) {
      this.queue.push(thread);
      return false;
    }
    this.free--;
    return true;
  }

  /** Called by Thread. */
  leaveCore(): void {
    const next = this.queue.shift();
    if (next === undefined) this.free++;
    else next.inherit();
  }
}
