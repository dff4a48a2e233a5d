/**
 * A leaderboard: game threads give points while any thread asks for the best, for a player's rank, or for who is around him.
 *
 *   node demo/examples/leaderboard.js
 *
 * The board is a tree of (score, player), so "the best" and "all above me" are ranges of it. A player's points are given by one
 * thread, the one his game runs in; everybody reads. (A player whose score is changing may stand on the board twice for an
 * instant, with the old score and the new one.)
 */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { SharedTree } from 'sabtree/tree';

const THREADS = 3;
const PLAYERS = 6000;
/** Times that each thread gives points. */
const EVENTS = 40_000;

/** Better scores are greater keys; of equal scores the lower player's number is. */
const placeOf = (score, player) => (BigInt(score) << 32n) | BigInt(0xffffffff - player);
const scoreAt = (place) => Number(place >> 32n);

/** Gives points: the new place first, so that the player never vanishes from the board. */
function give(scores, board, player, points) {
  const before = scores.add(player, points);
  if (before === undefined) board.put(placeOf(points, player), player);
  else if (points !== 0) {
    board.put(placeOf(before + points, player), player);
    board.delete(placeOf(before, player));
  }
}

/** 1 for the best. It counts who is above, so a low rank takes longer to tell than a high one. */
function rankOf(scores, board, player) {
  const score = scores.get(player);
  if (score === undefined) return undefined;
  let above = 0;
  board.forRange({ gt: placeOf(score, player) }, () => {
    above++;
  });
  return above + 1;
}

/** The best players, the best first. */
function best(board, limit) {
  return [...board.range({ reverse: true, limit })].map(([place, player]) => `${player} (${scoreAt(place)})`);
}

/** Who is around a player, the best first. */
function around(scores, board, player, limit) {
  const place = placeOf(scores.get(player), player);
  const above = [...board.range({ gt: place, limit })].reverse();
  const below = [...board.range({ lte: place, reverse: true, limit: limit + 1 })];
  return [...above, ...below].map(([, other]) => other);
}

if (isMainThread) {
  const scores = SharedTree.create({ key: 'u32', value: 'u32', memory: '64MB' });
  const board = SharedTree.create({ key: 'u64', value: 'u32', memory: '64MB' });
  const threads = Array.from(
    { length: THREADS },
    (_, id) => new Worker(new URL(import.meta.url), { workerData: { id, scores: scores.handle, board: board.handle } }),
  );
  let playing = THREADS;
  const ends = threads.map((thread) => once(thread, 'exit').then(() => playing--));

  // Meanwhile the board is read: what a range gives is one state of it, in order, whatever the threads do.
  let looks = 0;
  do {
    const top = [...board.range({ reverse: true, limit: 100 })];
    for (let i = 1; i < top.length; i++) if (top[i][0] >= top[i - 1][0]) throw new Error('out of order');
    looks++;
    await new Promise((resolve) => setImmediate(resolve));
  } while (playing > 0);
  await Promise.all(ends);

  console.log(`${board.size} players; looked at while they played: ${looks > 0 ? 'yes' : 'no'}`);
  console.log(`the best: ${best(board, 5).join(', ')}`);
  console.log(`rank of player 1234: ${rankOf(scores, board, 1234)}`);
  console.log(`around player 1234: ${around(scores, board, 1234, 2).join(', ')}`);
} else {
  const { id } = workerData;
  const scores = SharedTree.attach(workerData.scores);
  const board = SharedTree.attach(workerData.board);
  for (let i = 0; i < EVENTS; i++) {
    const player = id + THREADS * ((i * 31) % (PLAYERS / THREADS));
    give(scores, board, player, (i * 7919 + id * 13) % 97);
  }
  scores.close();
  board.close();
  parentPort.close();
}
