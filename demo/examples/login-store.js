/**
 * Who is logged in, known to every thread of a web server: a login made in one thread holds in all, and what has expired goes
 * by one range delete.
 *
 *   node demo/examples/login-store.js
 *
 * A login's key begins with the second in which it expires, so everything that has expired is the beginning of the map. The
 * cookie carries key and secret; what counts is the secret. The seconds here are counted, not waited for.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { SharedMap, u64 } from 'sabtree/tree';
import { object, u32 } from 'typed-binary';

const THREADS = 3;
/** Logins of each thread before, and as many while, the expired ones are removed. */
const LOGINS = 1000;
/** Seconds that a login holds. */
const LIFETIME = 60;

const Login = object({ user: u32, secret: u64 });

/** Logs a user in; the cookie. */
function login(logins, user, now) {
  const secret = randomBytes(8).readBigUInt64LE();
  for (;;) {
    const key = (BigInt(now + LIFETIME) << 32n) | BigInt(randomBytes(4).readUInt32LE());
    // In the rare case that the key is taken, by whichever thread, another is drawn.
    if (logins.tree.insert(key, { user, secret })) return `${key.toString(36)}.${secret.toString(36)}`;
  }
}

/** The user a cookie belongs to; undefined if it is forged or has expired. */
function userOf(logins, cookie, now) {
  const [key, secret] = cookie.split('.').map(number36);
  if (Number(key >> 32n) <= now) return undefined;
  const found = logins.get(key);
  return found?.secret === secret ? found.user : undefined;
}

/** Removes what has expired; how many. Other threads may go on meanwhile. */
function expire(logins, now) {
  return logins.deleteRange({ lt: BigInt(now + 1) << 32n });
}

function number36(text) {
  let number = 0n;
  for (const digit of text) number = number * 36n + BigInt(Number.parseInt(digit, 36));
  return BigInt.asUintN(64, number);
}

if (isMainThread) {
  const logins = SharedMap.create({ key: 'u64', value: Login, memory: '64MB' });
  const threads = Array.from(
    { length: THREADS },
    (_, id) => new Worker(new URL(import.meta.url), { workerData: { id, handle: logins.handle } }),
  );
  // Each thread logs users in during the seconds 0 to 99, and says the cookie of its last one.
  const cookies = (await Promise.all(threads.map((thread) => once(thread, 'message')))).flat();
  console.log(`logged in by ${THREADS} threads: ${logins.size}`);
  console.log(`their last users, seen from here: ${cookies.map((cookie) => userOf(logins, cookie, 100)).join(', ')}`);
  const forged = `${cookies[0].split('.')[0]}.${cookies[1].split('.')[1]}`;
  console.log(`with a forged cookie: ${userOf(logins, forged, 100) ?? 'nobody'}`);

  // In second 100 the expired ones go, while the threads log more users in.
  const ends = threads.map((thread) => once(thread, 'exit'));
  for (const thread of threads) thread.postMessage('more');
  const removed = expire(logins, 100);
  await Promise.all(ends);
  console.log(`expired: ${removed}, logged in: ${logins.size}`);
  console.log(`expired a minute later: ${expire(logins, 160)}, logged in: ${logins.size}`);
  console.log(`a login whose time is over: ${userOf(logins, cookies[0], 160) ?? 'nobody'}`);
} else {
  const { id, handle } = workerData;
  const logins = SharedMap.attach(handle, { value: Login });
  let cookie;
  for (let i = 0; i < LOGINS; i++) cookie = login(logins, id * LOGINS + i, i % 100);
  parentPort.postMessage(cookie);
  await once(parentPort, 'message');
  for (let i = 0; i < LOGINS; i++) login(logins, id * LOGINS + i, 101 + (i % 50));
  logins.close();
  parentPort.close();
}
