/**
 * A client's operations as they happened, in memory that outlives the client, and as JSON lines. Each line is one
 * operation: {"client","op","key","value","result","call","return"}; `call` and `return` are times of one clock that all
 * clients share, and a `return` of null means that the outcome is unknown.
 */

const OPS = ['put', 'delete', 'add', 'get', 'putAll', 'getAll'] as const;
export type LoggedOp = (typeof OPS)[number];

/** Words of an operation: code, key, value, whether there is a result, the result, call, return. */
const SIZE = 8;
const CODE = 0;
const KEY = 1;
const VALUE = 2;
const HAS_RESULT = 3;
const RESULT = 4;
const CALL = 5;
const RETURN = 6;

/** Most operations of one client. */
const LOG_ENTRIES = 100_000;

/** One client's log: a view of shared memory. The first word counts the entries. */
export class Log {
  readonly memory: SharedArrayBuffer;
  private readonly words: Int32Array;

  constructor(memory?: SharedArrayBuffer) {
    this.memory = memory ?? new SharedArrayBuffer((1 + LOG_ENTRIES * SIZE) * 4);
    this.words = new Int32Array(this.memory);
  }

  get length(): number {
    return Atomics.load(this.words, 0);
  }

  /** Whether `n` more operations fit. */
  hasRoom(n: number): boolean {
    return this.length + n <= LOG_ENTRIES;
  }

  /** Notes a call before it is made; the place for its answer. */
  call(op: LoggedOp, key: number, value: number, time: number): number {
    const { words } = this;
    const entry = words[0];
    const at = 1 + entry * SIZE;
    words[at + CODE] = OPS.indexOf(op);
    words[at + KEY] = key;
    words[at + VALUE] = value;
    words[at + CALL] = time;
    words[at + RETURN] = -1;
    Atomics.store(words, 0, entry + 1);
    return entry;
  }

  /** Notes its answer. */
  answer(entry: number, result: number | boolean | undefined, time: number): void {
    const { words } = this;
    const at = 1 + entry * SIZE;
    words[at + HAS_RESULT] = result === undefined ? 0 : typeof result === 'boolean' ? 2 : 1;
    words[at + RESULT] = Number(result ?? 0);
    Atomics.store(words, at + RETURN, time);
  }

  /** The operations as lines. */
  *lines(client: number): Generator<string> {
    const { words } = this;
    for (let entry = 0; entry < this.length; entry++) {
      const at = 1 + entry * SIZE;
      const op = OPS[words[at + CODE]];
      const pair = op === 'putAll' || op === 'getAll';
      const key = words[at + KEY];
      const value = words[at + VALUE];
      const end = words[at + RETURN];
      const raw = words[at + RESULT];
      const result = [null, raw, raw === 1][words[at + HAS_RESULT]];
      const answer = op === 'getAll' ? [result, result] : result;
      yield JSON.stringify({
        client,
        op,
        key: pair ? [key, key + 1] : key,
        ...(op === 'put' || op === 'add' ? { value } : {}),
        ...(op === 'putAll' ? { value: [value, value] } : {}),
        result: end < 0 ? null : answer,
        call: words[at + CALL],
        return: end < 0 ? null : end,
      });
    }
  }
}
