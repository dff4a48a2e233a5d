/**
 * execute-verify: the primary cuts the stream into batches, mixes parts of independent commands, shares each part out, and
 * verifies when all helpers are done. What it does for every command by itself bounds the model.
 */
import { READ } from './commands.ts';
import type { Gate, Steps } from './events.ts';
import type { Setting, Tally } from './setting.ts';

/** As in workers/models/execute-verify.ts. */
const BATCH = 256;
const SMALL = 12;
/** Cache lines of a command that change cores where helpers work too: in executing, and in mixing and answering. */
const UNDO_LINES = 3;
const MIX_LINES = 1.5;

/** A helper's next share. */
interface Helper {
  /** Nanoseconds of the share at hand; -1 when it is done. */
  job: number;
  readonly posted: Gate;
}

interface Team {
  readonly helpers: readonly Helper[];
  /** The primary waits here. */
  readonly done: Gate;
  busy: number;
  over: boolean;
}

/** The parts of a batch: each command comes after those of its key that it depends on. The primary's own rule. */
export function mix(keys: Uint32Array, kinds: Uint8Array, from: number, to: number): number[][] {
  const behind = new Map<number, [read: number, write: number]>();
  const parts: number[][] = [];
  for (let place = from; place < to; place++) {
    const reads = kinds[place] === READ;
    const last = behind.get(keys[place]);
    let part = 0;
    if (last === undefined) behind.set(keys[place], reads ? [1, 0] : [1, 1]);
    else if (reads) {
      part = last[1];
      last[0] = Math.max(last[0], part + 1);
    } else {
      part = Math.max(last[0], last[1]);
      last[0] = part + 1;
      last[1] = part + 1;
    }
    parts[part] ??= [];
    parts[part].push(place);
  }
  return parts;
}

function* lead(setting: Setting, tally: Tally, team: Team): Steps {
  const { commands, calibration, service } = setting;
  const { helpers } = team;
  // Lines that another core wrote or read last: those of the undo table, and two of the leaf, for pre-images are read
  // one by one; for the primary, those into which it puts records and from which it takes answers.
  const foreign = (helpers.length / (helpers.length + 1)) * calibration.transfer;
  const undo = calibration.undo + UNDO_LINES * foreign;
  const mixing = calibration.mix + MIX_LINES * foreign;
  const share = (part: readonly number[], from: number, to: number) => {
    let time = calibration.call;
    for (let i = from; i < to; i++) time += service[commands.kinds[part[i]]] + undo;
    return time;
  };
  for (let from = 0; from < commands.count; from += BATCH) {
    const to = Math.min(from + BATCH, commands.count);
    yield (to - from) * mixing;
    let used = 0;
    for (const part of mix(commands.keys, commands.kinds, from, to)) {
      const sharing = part.length <= SMALL ? [] : helpers;
      const cut = (n: number) => Math.floor((part.length * n) / (sharing.length + 1));
      used = Math.max(used, sharing.length);
      if (sharing.length > 0) {
        const posting = calibration.member * sharing.length;
        tally.barrierWork += posting;
        yield posting;
        let waking = 0;
        for (const [i, helper] of sharing.entries()) {
          helper.job = share(part, cut(i + 1), cut(i + 2)) + (cut(i + 2) - cut(i + 1)) * calibration.handover;
          team.busy++;
          waking += helper.posted.open();
        }
        if (waking > 0) yield waking;
      }
      yield share(part, 0, cut(1));
      while (team.busy > 0) yield team.done;
    }
    tally.syncPoints++;
    // Replies of all who took part.
    yield calibration.append * (1 + used);
  }
  team.over = true;
  for (const { posted } of helpers) posted.open();
}

function* help(team: Team, helper: Helper): Steps {
  for (;;) {
    while (helper.job < 0) {
      if (team.over) return;
      yield helper.posted;
    }
    yield helper.job;
    helper.job = -1;
    const waking = --team.busy === 0 ? team.done.open() : 0;
    if (waking > 0) yield waking;
  }
}

export function batched(setting: Setting, tally: Tally): void {
  const { simulation, calibration, executors } = setting;
  const gate = () => simulation.gate(true, calibration.transfer);
  const helpers = Array.from({ length: executors - 1 }, (): Helper => ({ job: -1, posted: gate() }));
  const team: Team = { helpers, done: gate(), busy: 0, over: false };
  tally.executors.push(simulation.start('primary', lead(setting, tally, team)));
  for (const [i, helper] of helpers.entries()) {
    tally.executors.push(simulation.start(`helper ${i}`, help(team, helper)));
  }
}
