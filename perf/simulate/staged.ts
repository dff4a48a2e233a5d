/** pipelined: receiving, executing and replying on a thread each, queues between them; one executor. */
import type { Gate, Steps } from './events.ts';
import type { Setting, Tally } from './setting.ts';

/** Commands handed on together: no more than a quarter of a ring of 4096 slots, and a reply area holds more. */
const RUN = 1024;
/** Runs that a queue holds. */
const CAPACITY = 2;

/** A queue of runs, each with its number of commands. */
class Queue {
  readonly runs: number[] = [];
  readonly arrived: Gate;
  readonly left: Gate;
  closed = false;

  constructor({ simulation, calibration }: Setting) {
    this.arrived = simulation.gate(false, calibration.transfer);
    this.left = simulation.gate(false, calibration.transfer);
  }

  /** @returns what waking the reader costs. */
  put(run: number): number {
    this.runs.push(run);
    return this.arrived.open();
  }

  /** @returns what waking the writer costs. */
  take(): number {
    this.runs.shift();
    return this.left.open();
  }
}

function* receive({ commands, calibration }: Setting, out: Queue): Steps {
  for (let at = 0; at < commands.count; at += RUN) {
    const run = Math.min(RUN, commands.count - at);
    while (out.runs.length >= CAPACITY) yield out.left;
    yield run * calibration.receive;
    yield out.put(run);
  }
  out.closed = true;
  yield out.arrived.open();
}

function* execute({ commands, calibration, service }: Setting, from: Queue, out: Queue): Steps {
  for (let at = 0; ; ) {
    while (from.runs.length === 0 && !from.closed) yield from.arrived;
    if (from.runs.length === 0) break;
    const run = from.runs[0];
    // Measured service includes receiving; here the receiver does that, and records come from its core's cache.
    let time = calibration.call;
    for (const end = at + run; at < end; at++) {
      time += Math.max(0, service[commands.kinds[at]] - calibration.receive) + calibration.handover;
    }
    yield time;
    yield from.take();
    while (out.runs.length >= CAPACITY) yield out.left;
    yield out.put(run);
  }
  out.closed = true;
  yield out.arrived.open();
}

function* reply({ calibration }: Setting, from: Queue): Steps {
  for (;;) {
    while (from.runs.length === 0 && !from.closed) yield from.arrived;
    if (from.runs.length === 0) return;
    yield calibration.append + from.runs[0] * calibration.handover;
    yield from.take();
  }
}

export function staged(setting: Setting, tally: Tally): void {
  const { simulation } = setting;
  const received = new Queue(setting);
  const executed = new Queue(setting);
  simulation.start('receiver', receive(setting, received));
  tally.executors.push(simulation.start('executor', execute(setting, received, executed)));
  simulation.start('replier', reply(setting, executed));
}
