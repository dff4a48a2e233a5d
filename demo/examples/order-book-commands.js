/** The commands of order-book.js: every executor of its store imports this module. */
import { defineCommand, f64 } from 'sabtree';
import { bool, object, u32 } from 'typed-binary';

/** One entry of the book: what is left of an order. */
export const order = object({ quantity: u32, owner: u32 });

/** Prices go up to here, in cents. */
const MOST = 2 ** 30 - 1;
const BIDS = 1n << 62n;
/** The number of the next order stands behind all orders. */
const COUNTER = 1n << 63n;

/** Orders of one side stand with the best price first, and with one price the oldest. */
const keyOf = (buys, price, number) =>
  (buys ? BIDS : 0n) | (BigInt(buys ? MOST - price : price) << 32n) | BigInt(number);

/** The price in an order's key. */
export const priceOf = (key) => {
  const price = Number((key >> 32n) & BigInt(MOST));
  return key >= BIDS ? MOST - price : price;
};

/** The keys of one side. */
export const sideOf = (buys) => (buys ? { gte: BIDS, lt: COUNTER } : { gte: 0n, lt: BIDS });

/** Matches an order with the best ones of the other side, as far as prices allow; what is left goes into the book. */
export const place = defineCommand({
  name: 'place',
  key: 'u64',
  value: order,
  args: object({ buys: bool, price: u32, quantity: u32, owner: u32 }),
  result: object({ number: u32, filled: u32, paid: f64 }),
  keys: 'all',
  run(ctx, { buys, price, quantity, owner }) {
    if (price < 1 || price > MOST) throw new RangeError(`no such price: ${price}`);
    if (quantity < 1) throw new RangeError('nothing is ordered');
    let left = quantity;
    let paid = 0;
    while (left > 0) {
      const [best] = ctx.range({ ...sideOf(!buys), limit: 1 });
      if (best === undefined) break;
      const [key, other] = best;
      const at = priceOf(key);
      if (buys ? at > price : at < price) break;
      const traded = Math.min(left, other.quantity);
      left -= traded;
      paid += traded * at;
      if (traded === other.quantity) ctx.delete(key);
      else ctx.put(key, { ...other, quantity: other.quantity - traded });
    }
    const counter = ctx.get(COUNTER) ?? { quantity: 0, owner: 0 };
    const number = counter.quantity + 1;
    ctx.put(COUNTER, { quantity: number, owner: 0 });
    if (left > 0) ctx.put(keyOf(buys, price, number), { quantity: left, owner });
    return { number, filled: quantity - left, paid };
  },
});
