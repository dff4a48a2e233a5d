/** The WebAssembly core as TypeScript sees it. What the calls do stands in engine/core/index.ts. */
import { CORE_BASE64 } from './core-bytes.ts';
import { SabtreeError } from './errors.ts';

/** The core's exports. All integers; results and arguments beyond them go through the thread's work block. */
export interface Core {
  quietNanSign(zero: number): number;
  createTree(): number;
  attach(thread: number, fences: number): number;
  allocateBlock(bytes: number): number;
  learnShape(): void;
  resetBetween(from: number, to: number): void;
  resetRoot(): void;
  setKept(directory: number): void;
  keepable(record: number): number;
  keepNumber(record: number, answered: number, value: number, length: number): void;
  keptNumber(record: number): number;
  keepResult(record: number, status: number, answered: number, length: number, wanted: number): number;
  dropResult(client: number, sequence: number): void;
  keptResult(record: number): number;
  keptPayload(record: number): number;
  keepBlob(entry: number, length: number): number;
  answerable(record: number, writes: number, replying: number): number;
  suppressedCount(): number;
  setChangeArea(start: number, bytes: number): void;
  changeBytes(): number;
  clearChanges(): void;
  blockAddress(): number;
  expectedAddress(): number;
  areaAddress(): number;
  scanValuesAddress(): number;
  batchValuesAddress(): number;
  batchFoundAddress(): number;
  scanCapacity(): number;
  keyPlaceAddress(which: number): number;
  scanBytesAddress(): number;
  allocateBlob(length: number): number;
  sealBlob(address: number, length: number): void;
  freeBlob(address: number, length: number): void;
  blobAreaAddress(): number;
  blobCopyAddress(): number;
  unchanged(): number;
  hold(): number;
  letGo(): void;
  get(): number;
  has(): number;
  put(): number;
  modify(op: number): number;
  neighbour(op: number): number;
  scan(flags: number, limit: number): number;
  getMany(n: number): number;
  modifyMany(op: number, n: number): number;
  batchStatus(): number;
  bulkBegin(leafFill: number, branchFill: number): number;
  bulkAppend(n: number): number;
  bulkEnd(): number;
  bulkAbort(): void;
  contentDigest(): bigint;
  leafDigest(leaf: number): bigint;
  setReplyArea(start: number, bytes: number, table: number, tableEntries: number): void;
  clearReplies(): void;
  apply(records: number, slots: number, flags: number, list: number): number;
  setPointCommands(reads: number, writes: number): void;
  applyCalls(records: number, slots: number, flags: number): number;
  runDeferred(list: number, flags: number): void;
  undoSize(entries: number): number;
  undoInit(table: number, entries: number): void;
  undoBegin(table: number, batch: number, thread: number, part: number): void;
  undoRollback(): number;
  replyDigest(): bigint;
  stopReason(): number;
  appliedCount(): number;
  replyRuns(): number;
  deferralSize(slots: number): number;
  deferralInit(list: number, slots: number): void;
}

let compiled: WebAssembly.Module | undefined;

/**
 * The compiled module: decoded and compiled once per thread, from a string that travels with the code.
 * @throws ERR_UNSUPPORTED where it cannot be compiled.
 */
export function coreModule(): WebAssembly.Module {
  if (compiled === undefined) {
    const text = atob(CORE_BASE64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    try {
      compiled = new WebAssembly.Module(bytes);
    } catch (cause) {
      const needs =
        "it needs WebAssembly with threads and SIMD, and a Content-Security-Policy has to allow script-src 'wasm-unsafe-eval'";
      const { message } = cause as Error;
      throw new SabtreeError('ERR_UNSUPPORTED', `the core cannot be compiled here: ${message} (${needs})`, undefined, {
        cause,
      });
    }
  }
  return compiled;
}

/** An instance of the core over a memory. @throws ERR_UNSUPPORTED where it cannot be compiled */
export function instantiateCore(memory: WebAssembly.Memory): Core {
  return new WebAssembly.Instance(coreModule(), { env: { memory } }).exports as unknown as Core;
}

/**
 * Whether readers on this processor need a fence between reading a node and validating it. x86-64 does not reorder
 * loads, so it does not; it is told from others by the sign of the NaN that 0/0 makes, which only x86 sets. Anything
 * else gets the fence. (ARCHITECTURE.md, decision 3.)
 */
export function needsFences(core: Core): boolean {
  return core.quietNanSign(0) !== 1;
}
