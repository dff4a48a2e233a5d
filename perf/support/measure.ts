/**
 * Comparing by turns. On a machine that others use too, a time means little and a ratio of times means something only if
 * both were taken under the same conditions: so all sides do the same chunk of work one right after the other, in an
 * order that changes from chunk to chunk, and ratios are taken round by round.
 */

/** One competitor. */
export interface Side {
  readonly name: string;
  /** Does the work of one chunk. The answer must be the same on all sides. */
  run(chunk: number): number | Promise<number>;
  /** A dearer answer, asked for when the clock has stopped. It too must be the same on all sides. */
  verify?(chunk: number): number | Promise<number>;
}

/** The same work done by all sides: the first one is ours. */
export interface Act {
  readonly name: string;
  /** Operations in a chunk. */
  readonly operations: number;
  readonly sides: readonly Side[];
  /** How many times as fast as the second side ours should be. */
  readonly target?: number;
}

/** How often, and how large. */
export interface Plan {
  /** Rounds that count. One more is run before them, and forgotten. */
  readonly rounds: number;
  /** Chunks in a round. */
  readonly chunks: number;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** One line of the report: ours beside one peer, in nanoseconds per operation. */
export interface Row {
  readonly name: string;
  readonly ours: Spread;
  readonly peer: string;
  readonly theirs: Spread;
  /** Theirs over ours, round by round: above 1 means that ours is faster. */
  readonly ratio: Spread;
  readonly target: number | undefined;
  readonly met: boolean | undefined;
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1] };
}

/** Compares two lists of times, taken round by round. */
export function compare(
  name: string,
  ours: readonly number[],
  peer: string,
  theirs: readonly number[],
  target?: number,
): Row {
  const ratio = spread(ours.map((time, round) => theirs[round] / time));
  return {
    name,
    ours: spread(ours),
    peer,
    theirs: spread(theirs),
    ratio,
    target,
    met: target === undefined ? undefined : ratio.median >= target,
  };
}

/**
 * Runs all acts by turns: in every chunk the first act by all sides, then the second, and so on. Acts of one call may
 * therefore build on each other (one inserts what the next deletes).
 * @returns one row for every act and peer. @throws if two sides give different answers.
 */
export async function alternate(acts: readonly Act[], plan: Plan): Promise<Row[]> {
  const times = acts.map((act) => act.sides.map(() => [] as number[]));
  for (let round = -1; round < plan.rounds; round++) {
    const spent = acts.map((act) => act.sides.map(() => 0));
    for (let i = 0; i < plan.chunks; i++) {
      const chunk = (round + 1) * plan.chunks + i;
      for (const [a, act] of acts.entries()) await runChunk(act, chunk, spent[a]);
    }
    if (round < 0) continue;
    for (const [a, act] of acts.entries()) {
      for (const [s, sum] of spent[a].entries()) times[a][s].push(sum / (plan.chunks * act.operations));
    }
  }
  return acts.flatMap((act, a) =>
    act.sides
      .slice(1)
      .map((side, i) => compare(act.name, times[a][0], side.name, times[a][i + 1], i === 0 ? act.target : undefined)),
  );
}

/** One chunk of one act by all its sides; adds the nanoseconds to `spent`. */
async function runChunk(act: Act, chunk: number, spent: number[]): Promise<void> {
  const { sides } = act;
  const answers: number[] = [];
  for (let turn = 0; turn < sides.length; turn++) {
    const s = (chunk + turn) % sides.length;
    const side = sides[s];
    const start = process.hrtime.bigint();
    const running = side.run(chunk);
    const answer = typeof running === 'number' ? running : await running;
    spent[s] += Number(process.hrtime.bigint() - start);
    answers[s] = answer + ((await side.verify?.(chunk)) ?? 0);
  }
  for (const [s, answer] of answers.entries()) {
    if (answer === answers[0]) continue;
    throw new Error(`${act.name}: ${sides[s].name} answers ${answer}, ${sides[0].name} ${answers[0]}`);
  }
}
