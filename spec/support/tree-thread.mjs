/**
 * A thread of tree-threads.spec.ts: attaches to the tree it is given, says so, waits for the start, does its task and
 * posts the result. Tasks verify what they see as they go and throw at the first wrong answer.
 *
 * `control` words: start; stop.
 */
import { parentPort, workerData } from 'node:worker_threads';
import * as bin from 'typed-binary';
import { SharedMap, SharedTree } from '../../dist/index.js';

const { handle, task, args, id, threads, seed, control, record } = workerData;
const options = record ? { value: bin.u32Array(record) } : {};

const START = 0;
const STOP = 1;

/** mulberry32: enough for choosing keys. */
function generator(start) {
  let state = start | 0;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

const below = generator(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(id + 1, 0x85ebca6b));

function wrong(what) {
  throw new Error(`thread ${id}: ${what}`);
}

function agree(what, actual, expected) {
  if (actual !== expected) wrong(`${what}: got ${actual}, expected ${expected}`);
}

const stopped = () => Atomics.load(control, STOP) !== 0;

/** Most a watcher waits for the writers to show it something, on however busy a machine. */
const PATIENCE_MS = 10_000;

/** Whether a watcher that has watched `laps` times, and seen so many different things, may stop. */
function enough(laps, wanted, seen, least, since) {
  return laps >= wanted && (seen >= least || performance.now() - since > PATIENCE_MS);
}

/** The record that belongs to a key and a number: every word says the same. */
const recordOf = (key, n) => new Uint32Array(record).fill(key * 1000 + (n % 1000));

function whole(key, value) {
  const word = value[0];
  if (Math.floor(word / 1000) !== key) wrong(`the record of ${key} begins with ${word}`);
  for (let i = 1; i < value.length; i++)
    if (value[i] !== word) wrong(`torn record of ${key}: ${word}, and ${value[i]} at ${i}`);
}

const tasks = {
  /** Keys of its own (key % threads = id): every answer is known. Gives the entries left. */
  own(tree, { rounds, keys, drain }) {
    const model = new Map();
    for (let round = 0; round < rounds; round++) {
      const key = below(keys) * threads + id;
      const value = below(1 << 30);
      const present = model.get(key);
      switch (below(drain ? 12 : 9)) {
        case 0:
          agree(`get ${key}`, tree.get(key), present);
          break;
        case 1:
          agree(`put ${key}`, tree.put(key, value), present === undefined);
          model.set(key, value);
          break;
        case 2:
          agree(`insert ${key}`, tree.insert(key, value), present === undefined);
          if (present === undefined) model.set(key, value);
          break;
        case 3:
          agree(`update ${key}`, tree.update(key, value), present !== undefined);
          if (present !== undefined) model.set(key, value);
          break;
        case 4:
          agree(`compareAndSet ${key}`, tree.compareAndSet(key, present ?? 0, value), present !== undefined);
          if (present !== undefined) model.set(key, value);
          break;
        case 5:
          agree(`add ${key}`, tree.add(key, 3), present);
          model.set(key, (present ?? 0) + 3);
          break;
        case 6: {
          const found = tree.getMany([key, key + threads, key]);
          agree(`getMany ${key}`, found[0], present);
          agree(`getMany ${key + threads}`, found[1], model.get(key + threads));
          agree(`getMany ${key} again`, found[2], present);
          break;
        }
        case 7:
          // The nearest own key at or above is at most `present`; others may stand before it.
          if (present !== undefined) {
            const entry = tree.ceiling(key);
            agree(`ceiling ${key}`, entry?.[0], key);
            agree(`value of ceiling ${key}`, entry?.[1], present);
          }
          break;
        default:
          agree(`delete ${key}`, tree.delete(key), present !== undefined);
          model.delete(key);
      }
    }
    if (drain) {
      for (const key of model.keys()) agree(`delete ${key}`, tree.delete(key), true);
      return [];
    }
    return [...model];
  },

  /** String keys of its own, some short and some long: every answer is known. Gives the entries left. */
  ownStrings(tree, { rounds, keys, prefix, suffix }) {
    const model = new Map();
    for (let round = 0; round < rounds; round++) {
      const n = below(keys);
      const key = `${n % 3 === 0 ? '' : prefix}${n % 7 === 0 ? n.toString(2) : n}/${id}${suffix}`;
      const value = below(1 << 30);
      const present = model.get(key);
      switch (below(8)) {
        case 0:
          agree(`get ${key}`, tree.get(key), present);
          break;
        case 1:
        case 2:
        case 3:
          agree(`put ${key}`, tree.put(key, value), present === undefined);
          model.set(key, value);
          break;
        case 4:
          agree(`compareAndSet ${key}`, tree.compareAndSet(key, present ?? 0, value), present !== undefined);
          if (present !== undefined) model.set(key, value);
          break;
        case 5:
          if (present !== undefined) agree(`ceiling ${key}`, tree.ceiling(key)?.[0], key);
          if (present !== undefined) agree(`floor ${key}`, tree.floor(key)?.[1], present);
          break;
        default:
          agree(`delete ${key}`, tree.delete(key), present !== undefined);
          model.delete(key);
      }
    }
    return [...model];
  },

  /** Puts all keys of its own and takes them out again: the tree grows from nothing and shrinks to nothing. */
  fillAndEmpty(tree, { rounds, keys, suffix }) {
    const own = Array.from({ length: keys }, (_, n) => `${n}/${id}${suffix}`);
    for (let round = 0; round < rounds; round++) {
      for (const key of own) agree(`put ${key}`, tree.put(key, round), true);
      for (const key of own) agree(`delete ${key}`, tree.delete(key), true);
    }
    for (const key of own) tree.put(key, rounds);
    return own;
  },

  /** Sets all accounts to 1, then all to 2, and so on, one after another. */
  setInOrder(tree, { rounds, keys }) {
    for (let round = 1; round <= rounds; round++) {
      for (let i = 0; i < keys; i++) tree.put(`account ${String(i).padStart(4, '0')}`, round);
    }
    return rounds;
  },

  /** Reads all accounts in one scan: at every instant they are in the order that `setInOrder` gives them. */
  watchInOrder(tree, { laps, keys }) {
    const since = performance.now();
    const states = new Set();
    let lap = 0;
    for (; !enough(lap, laps, states.size, 20, since); lap++) {
      const values = [];
      for (const [key, value] of tree.range({ prefix: 'account ', reverse: lap % 2 === 1 })) {
        if (!key.includes('filler')) values.push(value);
      }
      if (lap % 2 === 1) values.reverse();
      agree('accounts', values.length, keys);
      for (let i = 1; i < keys; i++)
        if (values[i] > values[i - 1]) wrong(`${values[i - 1]} before ${values[i]} at ${i}`);
      if (values[0] - values[keys - 1] > 1) wrong(`${values[0]} and ${values[keys - 1]} in one scan`);
      states.add(values.reduce((sum, value) => sum + value, 0));
    }
    return lap;
  },

  /** Adds one to the first key, then to the last, until it is told to stop: at every instant they are equal, or the first is one ahead. */
  countAtBothEnds(tree, { first, last }) {
    let rounds = 0;
    for (; !stopped(); rounds++) {
      tree.add(first, 1);
      tree.add(last, 1);
    }
    return rounds;
  },

  /** Reads both in one scan of all that lies between them. A scan takes far longer than they take to be written. */
  watchBothEnds(tree, { keys, laps }) {
    const since = performance.now();
    const states = new Set();
    let lap = 0;
    for (; !enough(lap, laps, states.size, 20, since); lap++) {
      const values = [...tree.range({ reverse: lap % 2 === 1 })].map(([, value]) => value);
      agree('keys', values.length, keys);
      if (lap % 2 === 1) values.reverse();
      const ahead = values[0] - values[keys - 1];
      if (ahead !== 0 && ahead !== 1)
        wrong(`${values[0]} at the first key, ${values[keys - 1]} at the last in one scan`);
      states.add(values[0]);
    }
    Atomics.store(control, STOP, 1);
    return lap;
  },

  /** Puts long keys between the accounts and takes them out again, so that leaves split and merge. */
  churnFillers(tree, { rounds }) {
    const filler = (n) => `account ${String(45 * n).padStart(4, '0')} filler ${'f'.repeat(400)}`;
    for (let round = 0; round < rounds; round++) {
      const n = below(40);
      if (!tree.insert(filler(n), 0)) tree.delete(filler(n));
    }
    return rounds;
  },

  /** Puts and deletes texts of one letter each, whose length stands before it. */
  writeTexts(tree, { rounds, keys, lengths }) {
    for (let round = 0; round < rounds; round++) {
      const key = `text ${below(keys)}`;
      const length = lengths[below(lengths.length)];
      if (below(5) === 0) tree.delete(key);
      else tree.put(key, `${length}:${'abcdefgh'[below(8)].repeat(length)}`);
    }
    return rounds;
  },

  /** Reads them, one by one and in scans: each is whole. Gives how many it saw. */
  readTexts(tree, { laps, keys }) {
    const since = performance.now();
    const states = new Set();
    let seen = 0;
    const look = (where, value) => {
      const colon = value.indexOf(':');
      const length = Number(value.slice(0, colon));
      const letter = value[colon + 1] ?? '';
      if (value.length !== colon + 1 + length) wrong(`${where}: ${value.length} characters, ${length} were written`);
      for (let i = colon + 2; i < value.length; i++) if (value[i] !== letter) wrong(`${where}: torn at ${i}`);
      states.add(`${length}${letter}`);
      seen++;
    };
    // Laps before anything was written do not count.
    for (let lap = 0; !enough(lap, laps, states.size, 5, since); lap += seen > 0 ? 1 : 0) {
      for (let i = 0; i < keys; i++) {
        const value = tree.get(`text ${i}`);
        if (value !== undefined) look('get', value);
      }
      let before = '';
      for (const [key, value] of tree.range({ reverse: lap % 3 === 2 })) {
        if (lap % 3 !== 2 && !(key > before)) wrong(`${key} behind ${before}`);
        before = key;
        look('range', value);
      }
      const entry = tree.ceiling(`text ${below(keys)}`);
      if (entry !== undefined) look('ceiling', entry[1]);
    }
    return seen;
  },

  /** Adds 1 to random keys; gives how many times. */
  add(tree, { rounds, keys, wide }) {
    const one = wide ? 1n : 1;
    for (let round = 0; round < rounds; round++) tree.add(below(keys), one);
    return rounds;
  },

  /** Adds 1 by compareAndSet loops; gives how many times. */
  compareAndSet(tree, { rounds, keys }) {
    for (let round = 0; round < rounds; round++) {
      const key = below(keys);
      for (;;) {
        const value = tree.get(key);
        if (tree.compareAndSet(key, value, value + 1)) break;
      }
    }
    return rounds;
  },

  /** Inserts every key, in an order of its own; gives the keys it won. */
  insertAll(tree, { keys }) {
    const order = Array.from({ length: keys }, (_, i) => i);
    for (let i = keys - 1; i > 0; i--) {
      const j = below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order.filter((key) => tree.insert(key, id));
  },

  /** Deletes every key, from one end or the other; gives the keys it won. */
  deleteAll(tree, { keys }) {
    const won = [];
    for (let i = 0; i < keys; i++) {
      const key = id % 2 === 0 ? i : keys - 1 - i;
      if (tree.delete(key)) won.push(key);
    }
    return won;
  },

  /** Loads its share (key % threads = id), in batches, up or down or scattered; gives how many were new. */
  load(tree, { keys, batch }) {
    const own = Array.from({ length: keys }, (_, i) => i * threads + id);
    if (id % 3 === 1) own.reverse();
    if (id % 3 === 2) own.sort((a, b) => Math.imul(a, 0x9e3779b1) - Math.imul(b, 0x9e3779b1));
    let fresh = 0;
    for (let i = 0; i < keys; i += batch) {
      const part = own.slice(i, i + batch);
      fresh +=
        batch === 1
          ? Number(tree.put(part[0], part[0] + 1))
          : tree.putMany(
              part,
              part.map((key) => key + 1),
            );
    }
    return fresh;
  },

  /** Deletes its share in batches; gives how many were there. */
  unload(tree, { keys, batch }) {
    const own = Array.from({ length: keys }, (_, i) => i * threads + id);
    if (id % 2 === 1) own.reverse();
    let gone = 0;
    for (let i = 0; i < keys; i += batch) gone += tree.deleteMany(own.slice(i, i + batch));
    return gone;
  },

  /** Every operation on keys that all threads share. A value says which key it belongs to. Gives entries made less entries removed. */
  mixed(tree, { rounds, keys }) {
    const someValueOf = (key) => key * 1000 + below(1000);
    const belongs = (key, value) => Math.floor(value / 1000) === key || wrong(`key ${key} has the value ${value}`);
    let net = 0;
    for (let round = 0; round < rounds && !stopped(); round++) {
      const key = below(keys);
      switch (below(10)) {
        case 0:
        case 1:
          net += Number(tree.put(key, someValueOf(key)));
          break;
        case 2:
          net += Number(tree.insert(key, someValueOf(key)));
          break;
        case 3:
        case 4:
          net -= Number(tree.delete(key));
          break;
        case 5: {
          const value = tree.get(key);
          if (value !== undefined) {
            belongs(key, value);
            tree.compareAndSet(key, value, someValueOf(key));
          }
          break;
        }
        case 6: {
          const options = below(2) ? { gte: key, limit: 30 } : { lte: key, limit: 30, reverse: true };
          let last;
          for (const [at, value] of tree.range(options)) {
            belongs(at, value);
            if (options.reverse ? at > key || at >= last : at < key || at <= last)
              wrong(`range at ${key}: ${at} after ${last}`);
            last = at;
          }
          break;
        }
        case 7: {
          const floor = tree.floor(key);
          if (floor !== undefined && !(floor[0] <= key && belongs(...floor))) wrong(`floor ${key} = ${floor}`);
          const higher = tree.higher(key);
          if (higher !== undefined && !(higher[0] > key && belongs(...higher))) wrong(`higher ${key} = ${higher}`);
          break;
        }
        case 8: {
          const batch = Array.from({ length: 1 + below(20) }, () => below(keys));
          for (const [i, value] of tree.getMany(batch).entries()) if (value !== undefined) belongs(batch[i], value);
          net += tree.putMany(batch, batch.map(someValueOf));
          break;
        }
        default:
          net -= tree.deleteMany(Array.from({ length: 1 + below(12) }, () => below(keys)));
      }
    }
    return net;
  },

  /** Moves one token within each of its lanes until stopped: insert the new place, then delete the old one. Gives the moves. */
  moveTokens(tree, { lanes, width }) {
    const places = Array.from({ length: lanes }, (_, lane) => tree.ceiling(lane * width)[0]);
    let moves = 0;
    while (!stopped()) {
      const lane = below(lanes);
      const from = places[lane];
      const to = lane * width + ((from - lane * width + 1 + below(width - 1)) % width);
      agree(`insert ${to}`, tree.insert(to, lane), true);
      agree(`delete ${from}`, tree.delete(from), true);
      places[lane] = to;
      moves++;
    }
    return moves;
  },

  /** Sees at least one token in every lane, and at most two, in every single scan. Gives the scans and what differed. */
  watchTokens(tree, { lanes, width, laps, least }) {
    const seen = new Set();
    const since = performance.now();
    let scans = 0;
    for (; !enough(scans, laps, seen.size, least, since); scans++) {
      const counts = new Array(lanes).fill(0);
      const reverse = scans % 2 === 1;
      let last;
      for (const [key, lane] of tree.range({ reverse })) {
        if (last !== undefined && (reverse ? key >= last : key <= last)) wrong(`${key} after ${last}`);
        last = key;
        agree(`lane of ${key}`, lane, Math.floor(key / width));
        counts[lane]++;
        if (lane === 0) seen.add(key);
      }
      for (const [lane, count] of counts.entries()) {
        if (count < 1 || count > 2)
          wrong(`scan ${scans}${reverse ? ' (reverse)' : ''} saw ${count} tokens in lane ${lane}`);
      }
      const lane = below(lanes);
      const up = tree.ceiling(lane * width);
      if (up === undefined || up[1] !== lane) wrong(`ceiling of lane ${lane}: ${up}`);
      const down = tree.floor(lane * width + width - 1);
      if (down === undefined || down[1] !== lane) wrong(`floor of lane ${lane}: ${down}`);
      const part = [...tree.range({ gte: lane * width, lt: lane * width + width, reverse })];
      if (part.length < 1 || part.length > 2) wrong(`a scan of lane ${lane} saw ${part.length} tokens`);
    }
    return { scans, seen: seen.size };
  },

  /** Counts a pair up until stopped: first the low key, then the high one. Gives the count. */
  countPair(tree, { low, high }) {
    let count = 0;
    while (!stopped()) {
      agree('low key', tree.compareAndSet(low, count, count + 1), true);
      agree('high key', tree.compareAndSet(high, count, count + 1), true);
      count++;
    }
    return count;
  },

  /** In every scan over everything the low key is level with the high one or one ahead. Gives the scans and states seen. */
  watchPairs(tree, { pairs, laps, least }) {
    const seen = new Set();
    const since = performance.now();
    let scans = 0;
    for (; !enough(scans, laps, seen.size, least, since); scans++) {
      const entries = new Map(tree.range({ reverse: scans % 2 === 1 }));
      for (const [low, high] of pairs) {
        const ahead = entries.get(low) - entries.get(high);
        if (ahead !== 0 && ahead !== 1)
          wrong(`scan ${scans}: ${low} -> ${entries.get(low)}, ${high} -> ${entries.get(high)}`);
      }
      seen.add(entries.get(pairs[0][0]));
    }
    return { scans, seen: seen.size };
  },

  /** Overwrites and removes records until stopped. Gives how many. */
  writeRecords(tree, { keys }) {
    let n = 0;
    while (!stopped()) {
      const key = below(keys);
      const dice = below(8);
      if (dice === 0) tree.delete(key);
      else if (dice === 1) tree.putMany([key, key], [recordOf(key, n), recordOf(key, n + 1)]);
      else tree.put(key, recordOf(key, n));
      n++;
    }
    return n;
  },

  /** Reads records in every way; none may be torn or another key's. Gives how many were read, and how many different ones. */
  readRecords(tree, { keys, laps, least }) {
    const seen = new Set();
    const since = performance.now();
    let records = 0;
    for (let lap = 0; !enough(lap, laps, seen.size, least, since); lap++) {
      const key = below(keys);
      const value = tree.get(key);
      if (value !== undefined) {
        whole(key, value);
        seen.add(value[0]);
        records++;
        // Either it is still the same value, or it is not written: never half compared.
        tree.compareAndSet(key, value, recordOf(key, lap));
      }
      const asked = [key, (key + 1) % keys, key];
      for (const [i, found] of tree.getMany(asked).entries()) {
        if (found === undefined) continue;
        whole(asked[i], found);
        records++;
      }
      const near = lap % 2 === 0 ? tree.floor(key) : tree.ceiling(key);
      if (near !== undefined) whole(...near);
      if (lap % 8 === 0) {
        for (const entry of tree.range({ reverse: lap % 16 === 0 })) {
          whole(...entry);
          records++;
        }
      }
    }
    return { records, seen: seen.size };
  },

  /** Overwrites one record as fast as it can until stopped. Gives how many times. */
  rewrite(tree, { key }) {
    const records = [recordOf(key, 1), recordOf(key, 2)];
    let n = 0;
    for (; !stopped(); n++) tree.put(key, records[n % 2]);
    return n;
  },

  /** Reads one record for a while, by itself and in a batch. Gives how many times it had changed. */
  reread(tree, { key, ms, least }) {
    const since = performance.now();
    let changes = 0;
    let last = 0;
    while (!enough(performance.now() - since, ms, changes, least, since)) {
      for (let i = 0; i < 50; i++) {
        const value = i % 5 === 0 ? tree.getMany([key])[0] : tree.get(key);
        whole(key, value);
        if (value[0] !== last) changes++;
        last = value[0];
      }
    }
    return changes;
  },

  /** Puts and deletes everything between the stable keys (multiples of `step`), run after run, until stopped. Gives the runs. */
  rebuild(tree, { stable, step }) {
    let runs = 0;
    for (; !stopped(); runs++) {
      const from = below(stable) * step;
      for (let key = from + 1; key < from + step; key++) tree.put(key, key);
      for (let key = from + 1; key < from + step; key++) tree.delete(key);
    }
    return runs;
  },

  /** Finds every stable key, always, in every way; and changes their values, which nobody else does. Gives the finds. */
  find(tree, { stable, step, ms }) {
    const end = performance.now() + ms;
    // Each thread has stable keys of its own to write to.
    const values = new Map();
    let finds = 0;
    while (performance.now() < end) {
      for (let i = 0; i < 200; i++) {
        const key = below(stable) * step;
        if (!tree.has(key)) wrong(`stable key ${key} is not there`);
        if (tree.get(key) === undefined) wrong(`stable key ${key} has no value`);
        finds += 2;
      }
      const batch = Array.from({ length: 64 }, () => below(stable) * step);
      if (tree.getMany(batch).includes(undefined)) wrong('a stable key of a batch is not there');
      for (const key of batch) {
        agree(`floor of ${key}`, tree.floor(key)?.[0], key);
        agree(`ceiling of ${key}`, tree.ceiling(key)?.[0], key);
        if ((key / step) % threads !== id) continue;
        agree(`value of ${key}`, tree.get(key), values.get(key) ?? key);
        agree(`update of ${key}`, tree.update(key, finds), true);
        values.set(key, finds);
      }
      finds += 3 * batch.length;
    }
    return finds;
  },

  /** Attaches, adds and closes, again and again. Gives how many times it added. */
  comeAndGo(_, { laps, keys }) {
    let added = 0;
    for (let lap = 0; lap < laps; lap++) {
      const tree = SharedTree.attach(handle, options);
      for (let i = 0; i < 20; i++) {
        tree.add(below(keys), 1);
        added++;
      }
      // Some entries come and go, so that slots with all kinds of counters change hands.
      tree.put(keys + id, lap);
      agree('own entry', tree.get(keys + id), lap);
      agree('own entry deleted', tree.delete(keys + id), true);
      tree.close();
    }
    return added;
  },

  /** Writes ever greater keys until stopped, but lets no more than `most` entries pile up. Gives how many. */
  append(tree, { from, most }) {
    let written = 0;
    for (; !stopped(); written++) {
      tree.put(from + written, written);
      while (written % 64 === 0 && tree.size > most && !stopped()) Atomics.wait(control, STOP, 0, 1);
    }
    return written;
  },

  /** Asks for each key, or inserts its own number; the threads meet every 50 keys. Gives what it got. */
  getOrInsert(tree, { keys, mine }) {
    const map = new SharedMap(tree);
    return Array.from({ length: keys }, (_, key) => {
      if (key % 50 === 0) {
        tree.add(keys + key, 1);
        while (tree.get(keys + key) < threads);
      }
      return key % 2 === 0 ? map.getOrInsert(key, mine) : map.getOrInsertComputed(key, () => mine);
    });
  },

  /** One call on the tree. Gives its answer. */
  call(tree, { method, args: callArgs }) {
    const start = performance.now();
    try {
      return { answer: tree[method](...callArgs), ms: performance.now() - start };
    } catch (error) {
      return { code: error.code, value: error.value, message: error.message, ms: performance.now() - start };
    }
  },
};

const tree = SharedTree.attach(handle, options);
parentPort.postMessage({ thread: tree.thread });
Atomics.wait(control, START, 0);
try {
  const result = tasks[task](tree, args);
  tree.close();
  parentPort.postMessage({ result });
} catch (error) {
  parentPort.postMessage({ failure: { message: String(error.stack), code: error.code, value: error.value } });
}
