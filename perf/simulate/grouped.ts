/**
 * smr, psmr, opt-psmr and keyed: a stream for each executor. What goes to all groups is executed at a sync point, where
 * all executors stand. In opt-psmr what does not fit into its leaf is deferred to the next sync point, which a retry
 * brings about; it stands `backlog` commands further on in the order.
 */
import { defers, type ExecutionModel } from '../../workers/models/model.ts';
import { byGroup, type Commands } from './commands.ts';
import type { Gate, Steps } from './events.ts';
import { Leaves } from './leaves.ts';
import type { Setting, Tally } from './setting.ts';

/** Commands after which an executor looks up: others may have brought a sync point about. */
const PIECE = 64;
/** How full leaves are at the beginning, as in perf/support/drain.ts. */
const FILL = 0.7;

/** The leaves when the simulation begins. */
function leavesBefore({ before, earlier, slots }: Commands, leafCapacity: number): Leaves {
  const leaves = new Leaves(before, slots, leafCapacity, FILL);
  for (const [i, key] of earlier.keys.entries()) leaves.apply(earlier.kinds[i], key, true);
  return leaves;
}

/** A sync point, from the first executor's arrival on. */
interface SyncPoint {
  arrived: number;
  /** Executor that leads, and the command to execute; -1 for a retry. */
  readonly leader: number;
  readonly command: number;
  readonly complete: Gate;
  readonly released: Gate;
}

/** What executors of one replica share. */
class Replica {
  readonly setting: Setting;
  readonly tally: Tally;
  readonly leaves: Leaves | undefined;
  readonly deferred: number[][];
  private readonly points = new Map<number, SyncPoint>();
  /** Places of the commands for all groups, ascending. */
  private readonly toAll: Uint32Array;
  private readonly groups: Uint16Array;
  /** Place of the retry under way, and who sent it; Infinity if there is none. */
  private retryAt = Number.POSITIVE_INFINITY;
  private retryBy = 0;
  /** First place that no executor has gone beyond. */
  private reached = 0;
  /** Executors whose stream is at its end wait here: a retry may still come. */
  private readonly idle: Gate;
  private finished = 0;

  constructor(setting: Setting, tally: Tally, model: ExecutionModel, streams: readonly Uint32Array[]) {
    const { commands, executors, leafCapacity } = setting;
    this.setting = setting;
    this.tally = tally;
    this.deferred = streams.map(() => []);
    this.idle = setting.simulation.gate();
    if (defers(model)) this.leaves = leavesBefore(commands, leafCapacity);
    this.groups = new Uint16Array(commands.count);
    for (const [group, stream] of streams.entries()) for (const place of stream) this.groups[place] = group;
    const places: number[] = [];
    // With one group, everything is a command of one group.
    if (executors > 1) for (let i = 0; i < commands.count; i++) if (model.toAllGroups(commands.ops[i])) places.push(i);
    this.toAll = Uint32Array.from(places);
  }

  /** Place of the next sync point of an executor that has passed `passed` commands for all groups. */
  stop(passed: number): number {
    return Math.min(passed < this.toAll.length ? this.toAll[passed] : Number.POSITIVE_INFINITY, this.retryAt);
  }

  reach(place: number): void {
    if (place > this.reached) this.reached = place;
  }

  /** Sends a retry unless one is under way. @returns what that costs. */
  retry(executor: number, place: number): number {
    const { setting, tally } = this;
    if (this.retryAt !== Number.POSITIVE_INFINITY) return 0;
    const { commands, backlog, calibration, executors } = setting;
    // Between two commands: nobody has passed it.
    this.retryAt = Math.min(commands.count, Math.max(this.reached, place + backlog)) - 0.5;
    this.retryBy = executor;
    tally.retried++;
    return calibration.retry * executors + this.idle.open();
  }

  /** Called once by each executor at the end of its stream. */
  finish(): void {
    if (++this.finished === this.setting.executors) this.idle.open();
  }

  /** Where to wait at the end of a stream; undefined if no command is left. */
  get end(): Gate | undefined {
    return this.finished === this.setting.executors ? undefined : this.idle;
  }

  /** The sync point at a place, where one more executor stands now. */
  arrive(place: number): SyncPoint {
    this.reach(Math.floor(place) + 1);
    let point = this.points.get(place);
    if (point === undefined) {
      const { simulation } = this.setting;
      const retry = place === this.retryAt;
      point = {
        arrived: 0,
        leader: retry ? this.retryBy : this.groups[place],
        command: retry ? -1 : place,
        complete: simulation.gate(true),
        released: simulation.gate(true),
      };
      this.points.set(place, point);
    }
    point.arrived++;
    return point;
  }

  /** Takes a sync point away that is done. */
  passed(place: number): void {
    this.points.delete(place);
    if (place === this.retryAt) this.retryAt = Number.POSITIVE_INFINITY;
  }

  /** Executes everything deferred. @returns how long that takes. */
  runDeferred(): number {
    const { setting, leaves, deferred } = this;
    const { commands, calibration } = setting;
    let time = 0;
    for (const list of deferred) {
      for (const place of list) {
        leaves?.apply(commands.kinds[place], commands.keys[place], true);
        time += calibration.deferred;
      }
      list.length = 0;
    }
    return time;
  }
}

function* execute(replica: Replica, executor: number, stream: Uint32Array): Steps {
  const { setting, tally, leaves } = replica;
  const { calibration, commands, service, executors } = setting;
  const { kinds, keys } = commands;
  const deferred = replica.deferred[executor];
  const deferredKeys = new Set<number>();
  let at = 0;
  let passed = 0;
  let inRun = false;
  let finished = false;

  /** Executes one command of the own group alone. */
  const parallel = (place: number): number => {
    const kind = kinds[place];
    const key = keys[place];
    if (leaves === undefined) return service[kind];
    const look = deferred.length === 0 ? 0 : calibration.deferralLook;
    const dependent = deferredKeys.has(key);
    if (!dependent && leaves.apply(kind, key, false)) return look + service[kind];
    if (dependent) tally.deferred++;
    else tally.refused++;
    deferred.push(place);
    deferredKeys.add(key);
    return look + calibration.refuse + replica.retry(executor, place);
  };

  for (;;) {
    let stop = replica.stop(passed);
    let time = 0;
    for (let n = 0; n < PIECE && at < stream.length && stream[at] < stop; n++) {
      if (!inRun) time += calibration.call;
      inRun = true;
      time += parallel(stream[at]);
      replica.reach(stream[at++] + 1);
      // What was just deferred may have brought one about.
      stop = replica.stop(passed);
    }
    if (time > 0) {
      yield time;
      continue;
    }
    inRun = false;
    if (stop === Number.POSITIVE_INFINITY) {
      if (!finished) replica.finish();
      finished = true;
      const { end } = replica;
      if (end === undefined) return;
      yield end;
      continue;
    }
    const point = replica.arrive(stop);
    if (point.leader !== executor) {
      const waking = point.arrived === executors ? point.complete.open() : 0;
      if (waking > 0) yield waking;
      yield point.released;
    } else {
      while (point.arrived < executors) yield point.complete;
      const work = executors > 1 ? calibration.sync + calibration.member * (executors - 2) : 0;
      const command = point.command < 0 ? 0 : calibration.call + service[kinds[point.command]];
      tally.syncPoints++;
      tally.barrierWork += work;
      yield work + replica.runDeferred() + command;
      if (point.command >= 0) leaves?.apply(kinds[point.command], keys[point.command], true);
      replica.passed(stop);
      yield point.released.open();
    }
    deferredKeys.clear();
    if (point.command >= 0) {
      if (point.leader === executor) at++;
      passed++;
    }
  }
}

/** The threads of a model with groups, or of one stream and one executor. */
export function grouped(setting: Setting, tally: Tally, model: ExecutionModel): void {
  const { executors, commands, simulation } = setting;
  const streams = byGroup(commands, executors);
  const replica = new Replica(setting, tally, model, streams);
  for (const [executor, stream] of streams.entries()) {
    tally.executors.push(simulation.start(`executor ${executor}`, execute(replica, executor, stream)));
  }
}
