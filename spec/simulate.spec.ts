/** `perf:simulate`: the simulator against closed forms, its rules, its command line, and one small real run. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { mix } from '../dist/perf/simulate/batched.js';
import { fit } from '../dist/perf/simulate/calibrate.js';
import { type Calibration, FREE, ORIGINS } from '../dist/perf/simulate/calibration.js';
import { byGroup, DELETE, draw, INSERT, READ, UPDATE } from '../dist/perf/simulate/commands.js';
import { EventQueue, type Gate, Simulation, type Steps } from '../dist/perf/simulate/events.js';
import { simulateOptions } from '../dist/perf/simulate/flags.js';
import { Leaves } from '../dist/perf/simulate/leaves.js';
import { type SimulatedCell, saturationOf } from '../dist/perf/simulate/report.js';
import { serviceTimes } from '../dist/perf/simulate/setting.js';
import { SIMULATED, type Simulated, type SimulationPlan, simulate } from '../dist/perf/simulate/simulator.js';
import { FlagError } from '../dist/perf/support/flags.js';
import { SET_SIZE } from '../dist/workers/models/sdpe.js';
import { groupOf } from '../dist/workers/streams.js';
import { seeded } from './support/random.ts';

/** Every command takes so long, and nothing else takes any time. */
function constant(service: number, more: Partial<Calibration> = {}): Calibration {
  return {
    ...FREE,
    read: service,
    update: service,
    insert: service,
    delete: service,
    directRead: service,
    directUpdate: service,
    deferred: service,
    ...more,
  };
}

function run(calibration: Calibration, plan: Partial<SimulationPlan>, seed = 1): Simulated {
  const usual: SimulationPlan = {
    model: 'keyed',
    executors: 1,
    workload: 'updates',
    distribution: 'uniform',
    commands: 20_000,
    entries: 20_000,
    backlog: 1000,
    leafCapacity: 80,
  };
  return simulate(calibration, { ...usual, ...plan }, seed);
}

describe('events', () => {
  it('come in order of time, and those of one time in the order in which they were added', async () => {
    await seeded('event order', (random) => {
      const queue = new EventQueue();
      const expected: { time: number; number: number }[] = [];
      const seen: number[] = [];
      let number = 0;
      let now = 0;
      for (let step = 0; step < 5000; step++) {
        if (expected.length > 0 && random.chance(0.45)) {
          expected.sort((a, b) => a.time - b.time || a.number - b.number);
          const next = expected.shift() as { time: number; number: number };
          expect(queue.first).toBe(next.time);
          now = next.time;
          queue.take()();
          expect(seen.at(-1)).toBe(next.number);
        } else {
          // Few different times: many come together.
          const mine = number++;
          const time = now + random.below(8);
          expected.push({ time, number: mine });
          queue.add(time, () => seen.push(mine));
        }
        expect(queue.size).toBe(expected.length);
      }
    })();
  });

  it('an M/D/1 queue waits as long as Pollaczek and Khinchine say', () => {
    const service = 100;
    const load = 0.7;
    const simulation = new Simulation();
    const arrived = simulation.gate();
    const queue: number[] = [];
    let left = 200_000;
    let waited = 0;
    let served = 0;
    let state = 12345;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state + 1) / 4294967297;
    };
    function* arrivals(): Steps {
      for (; left > 0; left--) {
        yield (-Math.log(random()) * service) / load;
        queue.push(simulation.now);
        arrived.open();
      }
    }
    function* server(): Steps {
      while (left > 0 || queue.length > 0) {
        if (queue.length === 0) {
          yield arrived;
          continue;
        }
        waited += simulation.now - (queue.shift() as number);
        served++;
        yield service;
      }
    }
    simulation.start('arrivals', arrivals());
    simulation.start('server', server());
    simulation.run();
    const theory = (load * service) / (2 * (1 - load));
    expect(waited / served / theory).toBeGreaterThan(0.95);
    expect(waited / served / theory).toBeLessThan(1.05);
  });

  it('threads share fewer cores than there are threads', () => {
    function* worker(): Steps {
      for (let i = 0; i < 100; i++) yield 1e6;
    }
    for (const [cores, time] of [
      [4, 100e6],
      [2, 200e6],
      [1, 400e6],
    ]) {
      const simulation = new Simulation({ cores, spin: 1000, notify: 0, wake: 0 });
      for (let i = 0; i < 4; i++) simulation.start(`worker ${i}`, worker());
      expect(simulation.run()).toBe(time);
    }
  });

  it('who waited longer than it spins was asleep: waking costs the waker, and the sleeper comes later', () => {
    for (const [pause, end, parks] of [
      [50, 50, 0],
      [500, 500 + 70, 1],
    ]) {
      const simulation = new Simulation({ cores: Number.POSITIVE_INFINITY, spin: 100, notify: 30, wake: 70 });
      const gate: Gate = simulation.gate();
      function* sleeper(): Steps {
        yield gate;
      }
      function* waker(): Steps {
        yield pause;
        yield gate.open();
      }
      const thread = simulation.start('sleeper', sleeper());
      const other = simulation.start('waker', waker());
      simulation.run();
      expect(thread.ended).toBe(end);
      expect(thread.parks).toBe(parks);
      expect(other.busy).toBe(pause + (parks === 0 ? 0 : 30));
    }
  });

  it('a simulation that stands still says who waits', () => {
    const simulation = new Simulation();
    const gate = simulation.gate();
    function* waiter(): Steps {
      yield gate;
    }
    simulation.start('the last one', waiter());
    expect(() => simulation.run()).toThrow(/the last one/);
  });
});

describe('closed forms', () => {
  it.each(SIMULATED)('%s: one executor and a constant service time', (model) => {
    for (const workload of ['updates', 'mixed:30', 'ycsb-a']) {
      const { perSecond, utilisation, barriers } = run(constant(100), { model, workload });
      // The first commands have to come through the scheduler or the stages, which takes no time here.
      expect(perSecond).toBeCloseTo(1e7, 3);
      expect(utilisation).toBeCloseTo(1, 9);
      expect(barriers).toBeCloseTo(0, 9);
    }
  });

  it.each(['direct', 'psmr', 'opt-psmr', 'keyed'] as const)(
    '%s: independent commands scale with executors, up to the skew',
    (model) => {
      for (const executors of [2, 8, 64]) {
        const { perSecond, utilisation } = run(constant(100), { model, executors });
        const { count, keys } = draw(
          { workload: 'updates', distribution: 'uniform', commands: 20_000, entries: 20_000 },
          1,
        );
        const loads = new Array(executors).fill(0);
        for (const key of keys) loads[groupOf(key, 0, executors)]++;
        // The executor with the most commands is the last to end.
        expect(perSecond).toBeCloseTo((count / (Math.max(...loads) * 100)) * 1e9, 0);
        expect(utilisation).toBeCloseTo(count / executors / Math.max(...loads), 6);
        expect(utilisation).toBeGreaterThan(0.8);
      }
    },
  );

  it('psmr: with all commands synchronous, service and barrier, whatever the executors', () => {
    for (const executors of [2, 5, 16, 64]) {
      const plan = { model: 'psmr', executors, workload: 'inserts+deletes' } as const;
      const { perSecond, syncPoints, barriers } = run(constant(100, { sync: 900 }), plan);
      expect(perSecond).toBeCloseTo(1e9 / 1000, 3);
      expect(syncPoints).toBe(20_000);
      // One executes for 100 of 1000 ns, the others stand all the time.
      expect(barriers).toBeCloseTo(1 - 0.1 / executors, 2);
      const dearer = run(constant(100, { sync: 900, member: 50 }), plan);
      expect(dearer.perSecond).toBeCloseTo(1e9 / (1000 + 50 * (executors - 2)), 3);
    }
  });

  it('psmr: Amdahl, when some commands are synchronous', () => {
    const service = 100;
    const sync = 400;
    for (const percent of [1, 10, 50]) {
      for (const executors of [2, 16, 64]) {
        const plan = { model: 'psmr', executors, workload: `mixed:${percent}` } as const;
        const { perSecond, syncPoints } = run(constant(service, { sync }), plan);
        const serial = syncPoints / 20_000;
        expect(Math.abs(serial - percent / 100)).toBeLessThan(0.01);
        const time = 1e9 / perSecond;
        // At best the parallel part is shared out evenly between any two sync points; at worst one executor has it all.
        expect(time).toBeGreaterThan(serial * (service + sync) + ((1 - serial) * service) / executors);
        expect(time).toBeLessThan(serial * (service + sync) + (1 - serial) * service);
      }
    }
  });

  it('pipelined: the slowest stage', () => {
    const plan = { model: 'pipelined', executors: 8 } as const;
    expect(run(constant(100, { receive: 30 }), plan).perSecond / 1e9).toBeCloseTo(1 / 70, 3);
    expect(run(constant(100, { receive: 60 }), plan).perSecond / 1e9).toBeCloseTo(1 / 60, 3);
    expect(run(constant(100, { receive: 30, handover: 500 }), plan).busiest.thread).toBe('executor');
  });

  it('sdpe: the scheduler bounds it; pairwise, the pending commands too', () => {
    const scheduler = { set: 150, dispatch: 50 };
    for (const executors of [1, 4, 32]) {
      const { perSecond, busiest } = run(constant(100, scheduler), { model: 'sdpe', executors });
      expect(perSecond / 1e6).toBeCloseTo(5, 1);
      expect(busiest.thread).toBe('scheduler');
    }
    const workers = run(constant(1000, scheduler), { model: 'sdpe', executors: 2 });
    expect(workers.perSecond / 1e6).toBeGreaterThan(1.95);
    expect(workers.perSecond / 1e6).toBeLessThanOrEqual(2);
    // Workers so slow that the set is always full: each insert is compared with all others.
    const compareWrite = 10;
    const full = (SET_SIZE - 1) * compareWrite;
    const pairwise = run(constant(1e6, { compareWrite, dispatch: 50 }), {
      model: 'sdpe-pairwise',
      executors: 1,
      commands: 2000,
    });
    expect(pairwise.busiest.thread).toBe('worker 0');
    const bound = run(constant(1, { compareWrite, dispatch: 50 }), { model: 'sdpe-pairwise', executors: 64 });
    expect(bound.busiest.thread).toBe('scheduler');
    // A round of inserts begins with an empty set and ends with a full one.
    expect(1e9 / bound.perSecond).toBeGreaterThan(50 + full / 4);
    expect(1e9 / bound.perSecond).toBeLessThan(50 + full);
  });

  it('sdpe: commands on one key run one after the other, whatever the workers', () => {
    const skewed = run(constant(1000), { model: 'sdpe', executors: 64, workload: 'ycsb-a' });
    const { keys, kinds } = draw({ workload: 'ycsb-a', distribution: 'zipf', commands: 20_000, entries: 20_000 }, 1);
    const writes = new Map<number, number>();
    for (const [i, key] of keys.entries()) if (kinds[i] === UPDATE) writes.set(key, (writes.get(key) ?? 0) + 1);
    expect(skewed.perSecond).toBeLessThanOrEqual((20_000 / (Math.max(...writes.values()) * 1000)) * 1e9);
    expect(run(constant(1000), { model: 'sdpe', executors: 64 }).perSecond).toBeGreaterThan(2 * skewed.perSecond);
  });

  it('execute-verify: the primary mixes alone, and batches of 256 are shared out', () => {
    for (const executors of [2, 4, 8]) {
      const { perSecond } = run(constant(100, { mix: 40 }), { model: 'execute-verify', executors, commands: 256 * 80 });
      // Two commands on one key make a part by themselves, which the primary executes: hence a little more.
      const ideal = 40 + 100 / executors;
      expect(1e9 / perSecond).toBeGreaterThan(ideal - 0.01);
      expect(1e9 / perSecond).toBeLessThan(ideal * 1.15);
    }
  });

  it('sharing a tree: nobody alone pays, writers pay for all others, readers for writers only', () => {
    const calibration = constant(100, { line: 40 });
    expect([...serviceTimes(calibration, 1, 1)]).toEqual([100, 100, 100, 100]);
    expect(serviceTimes(calibration, 2, 1)[UPDATE]).toBe(120);
    expect(serviceTimes(calibration, 2, 0)[READ]).toBe(100);
    expect(serviceTimes(calibration, 64, 0.5)[READ]).toBeLessThan(140);
    expect(serviceTimes({ ...calibration, cores: 1.5 }, 2, 0)[READ]).toBe(150);
  });
});

describe("the models' rules", () => {
  const deferring = constant(100, { sync: 500, refuse: 100, deferred: 400, retry: 20 });

  it('opt-psmr: inserts that do not fit come at the rate of 1/(B ln 2), and one sync point serves a backlog', () => {
    const plan = { model: 'opt-psmr', workload: 'inserts', commands: 100_000, entries: 50_000 } as const;
    for (const leafCapacity of [16, 64]) {
      const { refused, retried, syncPoints } = run(deferring, { ...plan, leafCapacity, backlog: 1 });
      const rate = 1 / (leafCapacity * Math.LN2);
      expect(refused / 100_000 / rate).toBeGreaterThan(0.8);
      expect(refused / 100_000 / rate).toBeLessThan(1.2);
      expect(retried).toBe(syncPoints);
      const patient = run(deferring, { ...plan, leafCapacity, backlog: 5000 });
      expect(patient.syncPoints).toBeLessThanOrEqual(20);
      expect(patient.refused).toBeGreaterThan(refused);
    }
  });

  it('opt-psmr: a retry brings all executors together, those whose streams are at their end too', () => {
    for (const backlog of [1, 100, 1_000_000]) {
      for (const executors of [1, 2, 7]) {
        const plan = { model: 'opt-psmr', workload: 'inserts', executors, backlog, leafCapacity: 16 } as const;
        const { syncPoints, refused, retried } = run(deferring, plan);
        expect(refused).toBeGreaterThan(0);
        expect(retried).toBe(syncPoints);
        if (backlog === 1_000_000) expect(syncPoints).toBe(1);
      }
    }
  });

  it('keyed never meets, psmr only for inserts and deletes, one group not at all', () => {
    for (const workload of ['inserts+deletes', 'inserts', 'mixed:50']) {
      expect(run(deferring, { model: 'keyed', workload, executors: 4 }).syncPoints).toBe(0);
      expect(run(deferring, { model: 'psmr', workload, executors: 1 }).syncPoints).toBe(0);
      expect(run(deferring, { model: 'psmr', workload, executors: 4 }).syncPoints).toBeGreaterThan(9000);
    }
    expect(run(deferring, { model: 'psmr', workload: 'ycsb-a', executors: 4 }).syncPoints).toBe(0);
  });

  it('groups are those of the streams, and hold every command once, in order', () => {
    const commands = draw({ workload: 'mixed:20', distribution: 'uniform', commands: 5000, entries: 1000 }, 3);
    const lists = byGroup(commands, 7);
    expect([...lists.flatMap((list) => [...list])].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 5000 }, (_, i) => i),
    );
    for (const [group, list] of lists.entries()) {
      expect([...list]).toEqual([...list].sort((a, b) => a - b));
      for (const place of list) expect(groupOf(commands.keys[place], 0, 7)).toBe(group);
    }
  });

  it('the mixer puts a command behind those of its key that it depends on', () => {
    const keys = Uint32Array.from([1, 1, 2, 1, 1, 2]);
    const kinds = Uint8Array.from([READ, READ, UPDATE, UPDATE, READ, READ]);
    expect(mix(keys, kinds, 0, 6)).toEqual([[0, 1, 2], [3, 5], [4]]);
  });

  it('leaves: what is refused is done in the end, and the content is that of the commands', async () => {
    await seeded('leaves', (random) => {
      const slots = 500;
      const content = new Set(Array.from({ length: slots }, (_, key) => key).filter(() => random.chance(0.5)));
      const leaves = new Leaves(
        [...content].sort((a, b) => a - b),
        slots,
        8,
        0.7,
      );
      let refused = 0;
      for (let i = 0; i < 20_000; i++) {
        const key = random.below(slots);
        const kind = random.chance(content.size / slots) ? DELETE : INSERT;
        const before = leaves.has(key);
        if (!leaves.apply(kind, key, false)) {
          refused++;
          expect(leaves.has(key)).toBe(before);
          expect(leaves.apply(kind, key, true)).toBe(true);
        }
        if (kind === INSERT) content.add(key);
        else content.delete(key);
        expect(leaves.has(key)).toBe(content.has(key));
      }
      expect(refused).toBeGreaterThan(100);
      expect(leaves.leaves).toBeGreaterThan(content.size / 8);
      expect(leaves.leaves).toBeLessThan(content.size / 1.9);
    })();
  });
});

describe('results', () => {
  const machine = constant(80, {
    read: 60,
    sync: 500,
    member: 100,
    set: 200,
    dispatch: 100,
    mix: 90,
    call: 100,
    line: 30,
    receive: 20,
  });

  it.each(SIMULATED)('%s: the same seed gives the same results, another one others', (model) => {
    const plan = { model, executors: 6, workload: 'mixed:20' } as const;
    const first = run(machine, plan, 5);
    run(machine, { ...plan, executors: 3 }, 9);
    expect(run(machine, plan, 5)).toEqual(first);
    expect(run(machine, plan, 6)).not.toEqual(first);
  });

  it('a parameter is fitted to a measurement, and is 0 where the rest takes longer already', () => {
    const plan: SimulationPlan = {
      model: 'psmr',
      executors: 2,
      workload: 'inserts+deletes',
      distribution: 'uniform',
      commands: 2000,
      entries: 1000,
      backlog: 2000,
      leafCapacity: 80,
    };
    expect(fit(constant(100), 'sync', plan, 1, 1e9 / 1234)).toBeCloseTo(1134, -1);
    expect(fit(constant(100), 'sync', plan, 1, 1e9 / 50)).toBe(0);
  });

  it('the knee is where 90 % of the best are reached', () => {
    const cell = (executors: number, median: number) =>
      ({
        model: 'psmr',
        workload: 'reads',
        executors,
        commandsPerSecond: { median, min: 0, max: 0 },
        busiest: { thread: 'x', share: 1 },
      }) as SimulatedCell;
    const [saturation] = saturationOf([cell(1, 50), cell(2, 89), cell(4, 91), cell(8, 100), cell(16, 70)]);
    expect(saturation).toMatchObject({ knee: 4, best: 8, commandsPerSecond: 100 });
  });
});

describe('the command line', () => {
  const wrong: [string[], RegExp][] = [
    [['--what'], /unknown flag --what; there are --models/],
    [['--models', 'smr,best'], /--models takes direct, smr, .*; got "best"/],
    [['--models', ''], /--models takes/],
    [['--workloads', 'writes'], /--workloads takes/],
    [['--workloads', 'ycsb-e'], /ranges, which are not simulated/],
    [['--executors', '0'], /--executors takes integers from 1/],
    [['--executors', '1,x'], /--executors takes integers/],
    [['--commands', '10'], /--commands takes an integer from 1000/],
    [['--seed', '1.5'], /--seed takes an integer/],
    [['--seed'], /argument/],
    [['more'], /more/],
  ];
  it.each(wrong)('%j is refused', (args, message) => {
    expect(() => simulateOptions(args)).toThrow(FlagError);
    expect(() => simulateOptions(args)).toThrow(message);
  });

  it('lists are taken once each, executors in order', () => {
    const options = simulateOptions([
      '--executors',
      '8,2,8',
      '--models',
      'keyed, smr',
      '--workloads',
      'mixed:30',
      '--json',
    ]);
    expect(options).toMatchObject({ executors: [2, 8], models: ['keyed', 'smr'], workloads: ['mixed:30'], json: true });
    expect(simulateOptions(['--help'])).toBeUndefined();
  });
});

describe('a small real run', () => {
  const script = fileURLToPath(new URL('../dist/perf/simulate.js', import.meta.url));
  const simulateHere = (...args: string[]): Promise<{ code: unknown; out: string; err: string }> =>
    new Promise((resolve) => {
      execFile(process.execPath, [script, ...args], { timeout: 55_000, maxBuffer: 1 << 26 }, (error, out, err) => {
        resolve({ code: error === null ? 0 : error.code, out, err });
      });
    });

  it('prints one JSON object and nothing else, with cells, calibration and errors', async () => {
    const { code, out, err } = await simulateHere(
      ...['--quick', '--json', '--models', 'smr,psmr', '--workloads', 'mixed:20'],
      ...['--commands', '2000', '--drained', '5000', '--runs', '1', '--executors', '1,2,16'],
    );
    expect(code, err).toBe(0);
    expect(out.endsWith('\n')).toBe(true);
    const { machine, cells, calibration, errors, saturation } = JSON.parse(out);
    expect(machine.cores).toBeGreaterThan(0);
    const simulated = cells.filter(({ kind }: SimulatedCell) => kind === 'simulated');
    expect(simulated.length).toBe(2 * 3);
    for (const cell of cells) {
      const { median, min, max } = cell.commandsPerSecond;
      expect(min).toBeGreaterThan(0);
      expect(median).toBeGreaterThanOrEqual(min);
      expect(max).toBeGreaterThanOrEqual(median);
      expect(cell.verified).toBe(true);
      expect(['simulated', 'drain']).toContain(cell.kind);
    }
    for (const { utilisation, barriers, busiest } of simulated) {
      expect(utilisation).toBeGreaterThanOrEqual(0);
      expect(utilisation + barriers).toBeLessThan(1.001);
      expect(busiest.share).toBeLessThan(1.001);
    }
    // What only other models need is not measured.
    const needless = ['directRead', 'directUpdate', 'dispatch', 'mix'];
    const needed = Object.keys(ORIGINS).filter((name) => !needless.includes(name));
    expect(calibration.map(({ name }: { name: string }) => name)).toEqual(needed);
    for (const { name, value } of calibration) expect(Number.isFinite(value), name).toBe(true);
    // psmr with one executor and with two; smr has one, whatever is asked for. And what the calibration needs beside them.
    const points = errors.map(
      ({ model, workload, executors }: { model: string; workload: string; executors: number }) =>
        `${model}@${executors} ${workload}`,
    );
    expect(points.slice(0, 3)).toEqual(['smr@1 mixed:20', 'psmr@1 mixed:20', 'psmr@2 mixed:20']);
    for (const { error, measured, simulated: found } of errors) expect(error).toBeCloseTo(found / measured - 1, 9);
    expect(errors.some(({ calibrates }: { calibrates?: string }) => calibrates === 'sync')).toBe(true);
    expect(saturation.length).toBe(2);
  });

  it('marks what is simulated in its tables, and says what is wrong with a flag', async () => {
    const [text, wrong, help] = await Promise.all([
      simulateHere('--quick', '--models', 'smr', '--workloads', 'updates', '--drained', '5000', '--runs', '1'),
      simulateHere('--models', 'none'),
      simulateHere('--help'),
    ]);
    expect(text.code, text.err).toBe(0);
    expect(text.out).toContain('(all figures simulated)');
    expect(text.out).toMatch(/measured +median +simulated +error/);
    expect(wrong).toMatchObject({ code: 2, out: '' });
    expect(wrong.err).toContain('--models takes direct, smr');
    expect(help).toMatchObject({ code: 0, err: '' });
  });
});
