/**
 * An order book: traders in several threads place orders, which are matched by price and then by age. The match is a command
 * of the user's own, carried out as one step in two replicas; the one that answers is killed on the way.
 *
 *   node demo/examples/order-book.js
 */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { connect, open } from 'sabtree';
import { order, place, priceOf, sideOf } from './order-book-commands.js';

const TRADERS = 3;
/** Orders of each trader. */
const ORDERS = 400;

/** An order of the book, for people: prices are in cents. */
const line = (side, key, quantity) =>
  `  ${side} ${(priceOf(key) / 100).toFixed(2).padStart(7)} x ${String(quantity).padStart(2)}`;

if (isMainThread) {
  const store = await open({
    key: 'u64',
    value: order,
    memory: '64MB',
    replicas: 2,
    commands: new URL('./order-book-commands.js', import.meta.url),
  });
  const threads = Array.from(
    { length: TRADERS },
    (_, owner) => new Worker(new URL(import.meta.url), { workerData: { owner, handle: store.handle } }),
  );
  const reports = Promise.all(threads.map(async (thread) => (await once(thread, 'message'))[0]));
  // When half of the orders are placed, the replica that answers goes. The other one has every order that it had.
  const half = (TRADERS * ORDERS) / 2;
  while ((store.tree.get(1n << 63n)?.quantity ?? 0) < half) await new Promise((resolve) => setTimeout(resolve, 1));
  await store.kill(store.status().home);

  let ordered = 0;
  let filled = 0;
  for (const report of await reports) {
    ordered += report.ordered;
    filled += report.filled;
  }
  const { asks, bids, placed } = await store.read((tree) => ({
    asks: [...tree.range(sideOf(false))],
    bids: [...tree.range(sideOf(true))],
    placed: tree.get(1n << 63n).quantity,
  }));
  const resting = [...asks, ...bids].reduce((sum, [, { quantity }]) => sum + quantity, 0);
  console.log(`${placed} orders by ${TRADERS} threads, ${store.status().failovers} failover on the way`);
  console.log(`ordered ${ordered}: ${filled} bought and sold, ${resting} left in the book`);
  // What an order finds in the book when it comes is traded twice: once for either side.
  console.log(`nothing lost: ${ordered === 2 * filled + resting}`);
  console.log('the middle of the book:');
  for (const [key, { quantity }] of asks.slice(0, 3).reverse()) console.log(line('ask', key, quantity));
  for (const [key, { quantity }] of bids.slice(0, 3)) console.log(line('bid', key, quantity));
  const nothing = store.call(place, { buys: true, price: 1, quantity: 0, owner: 9 });
  console.log(`an order of nothing: ${await nothing.catch(({ code, message }) => `${code}, ${message}`)}`);
  await store.close();
} else {
  const { owner, handle } = workerData;
  const client = await connect(handle, { value: order });
  const report = { ordered: 0, filled: 0 };
  for (let i = 0; i < ORDERS; i++) {
    const buys = (i + owner) % 2 === 0;
    // Around 100.00, with buyers a little below sellers.
    const price = 10_000 + ((i * 7919 + owner * 31) % 200) - (buys ? 120 : 80);
    const quantity = 1 + ((i * 31 + owner) % 50);
    const { filled } = client.callSync(place, { buys, price, quantity, owner });
    report.ordered += quantity;
    report.filled += filled;
  }
  await client.close();
  parentPort.postMessage(report);
}
