/**
 * Mending what a thread left behind that died while it appended: a run it had claimed and not published, in one ring or,
 * under the multicast lock, in several. Readers wait for such a run for ever, so it is filled with records that do nothing.
 *
 * Whoever claims announces the claim first (GroupRing.tryClaim), so it can be found. An announced claim may not have come
 * about: then the ring's claim position still stands there, or somebody else claimed that place, who announced it too.
 */
import {
  NOBODY,
  OP_FENCE,
  OP_MARKER,
  OP_RETRY,
  OP_SKIP,
  OPERATION_CLIENT,
  OPERATION_CODE,
  OPERATION_GROUPS,
  OPERATION_KEY,
  OPERATION_NUMBER,
  OPERATION_SLOTS,
  SLOT,
} from '../layout/operation.ts';
import {
  CLIENT_STATE,
  CLIENT_USED,
  MULTICAST_CLAIM_SIZE,
  MULTICAST_CLAIMS,
  MULTICAST_LOCK,
  RING_CLAIM,
} from '../layout/streams.ts';
import { announcementOf, GroupRing } from './ring.ts';
import type { Streams } from './streams.ts';

/** A claim that somebody announced. */
interface Claim {
  readonly group: number;
  readonly position: number;
  readonly slots: number;
}

/** What an announcement's three words say; undefined if nothing is announced. */
function announced(streams: Streams, word: number): Claim | undefined {
  const { words } = streams;
  const group = Atomics.load(words, word) - 1;
  if (group < 0) return undefined;
  return { group, position: words[word + 1], slots: words[word + 2] };
}

/** 'none': the claim never came about. 'open': claimed, not published. 'unclear': another thread announced the same place. */
type Standing = 'none' | 'open' | 'published' | 'unclear';

function standingOf(streams: Streams, ring: GroupRing, claim: Claim, own: number): Standing {
  const { words, shape } = streams;
  const head = Atomics.load(words, (streams.ring(claim.group) + RING_CLAIM) >> 2);
  if (((head - claim.position) | 0) <= 0) return 'none';
  if (ring.isPublished(claim.position)) return 'published';
  for (let client = 0; client < shape.clients; client++) {
    const word = announcementOf(streams, client);
    if (word === own || Atomics.load(words, (streams.client(client) + CLIENT_STATE) >> 2) !== CLIENT_USED) continue;
    const other = announced(streams, word);
    if (other?.group === claim.group && other.position === claim.position) return 'unclear';
  }
  return 'open';
}

/**
 * Mends a dead client's claim in one ring.
 * @returns false if it cannot be told yet whose the place is: ask again soon.
 */
export function mendClaim(streams: Streams, client: number): boolean {
  const word = announcementOf(streams, client);
  const claim = announced(streams, word);
  if (claim === undefined) return true;
  const ring = new GroupRing(streams, claim.group);
  const standing = standingOf(streams, ring, claim, word);
  if (standing === 'unclear') return false;
  if (standing === 'open') fill(ring, claim, []);
  Atomics.store(streams.words, word, 0);
  return true;
}

/**
 * Mends what the dead holder of the multicast lock left, and gives the lock back. A command that any ring already shows is
 * completed in the others, so that nobody stands at it for ever; if its payload was not published, it does nothing.
 * @returns false if it has to be tried again.
 */
export function mendLock(streams: Streams, holder: number): boolean {
  const { words, shape } = streams;
  if (Atomics.load(words, MULTICAST_LOCK >> 2) !== holder) return true;
  const open: { ring: GroupRing; claim: Claim }[] = [];
  const commands = new Map<number, Int32Array>();
  for (let group = 0; group < shape.groups; group++) {
    const word = (MULTICAST_CLAIMS + group * MULTICAST_CLAIM_SIZE) >> 2;
    const claim = announced(streams, word);
    if (claim === undefined) continue;
    const ring = new GroupRing(streams, group);
    const standing = standingOf(streams, ring, claim, word);
    if (standing === 'unclear') return false;
    if (standing === 'open') open.push({ ring, claim });
    else if (standing === 'published')
      for (const record of ring.recordsAt(claim.position)) note(commands, record, group);
  }
  const all = shape.groups === 32 ? -1 : (1 << shape.groups) - 1;
  for (const { ring, claim } of open) {
    const here = [...commands.values()].filter((record) => (record[OPERATION_GROUPS >> 2] >>> ring.group) & 1);
    fill(ring, claim, here);
    const last = here.findLastIndex((record) => record[OPERATION_GROUPS >> 2] === all);
    if (last >= 0) ring.noteMarker(claim.position + last);
  }
  for (let group = 0; group < shape.groups; group++) {
    Atomics.store(words, (MULTICAST_CLAIMS + group * MULTICAST_CLAIM_SIZE) >> 2, 0);
  }
  Atomics.store(words, MULTICAST_LOCK >> 2, 0);
  return true;
}

/** Notes a many-group command by its number, as the marker that other groups get. */
function note(commands: Map<number, Int32Array>, record: Int32Array, group: number): void {
  const groups = record[OPERATION_GROUPS >> 2];
  if (groups === 0) return;
  const marker = new Int32Array(SLOT >> 2);
  const op = record[OPERATION_CODE >> 2] & 0xff;
  const isMarker = op === OP_MARKER || op === OP_RETRY;
  marker[OPERATION_CODE >> 2] = (op === OP_RETRY ? OP_RETRY : OP_MARKER) | (1 << 16);
  marker[OPERATION_CLIENT >> 2] = NOBODY;
  marker[OPERATION_NUMBER >> 2] = record[OPERATION_NUMBER >> 2];
  marker[OPERATION_GROUPS >> 2] = groups;
  marker[OPERATION_KEY >> 2] = isMarker ? record[OPERATION_KEY >> 2] : group;
  commands.set(record[OPERATION_NUMBER >> 2], marker);
}

/** Publishes a run that stands at these commands, and does nothing else. */
function fill(ring: GroupRing, { position, slots }: Claim, commands: readonly Int32Array[]): void {
  const run = new Int32Array((slots * SLOT) >> 2);
  let at = 0;
  for (const marker of commands) {
    run.set(marker, at);
    // The command's own group, and its payload is lost: somebody has to lead the sync point, and there is nothing to do.
    const own = marker[OPERATION_KEY >> 2] === ring.group && (marker[OPERATION_CODE >> 2] & 0xff) === OP_MARKER;
    if (own) {
      run[at + (OPERATION_CODE >> 2)] = OP_FENCE | (1 << 16);
      run[at + (OPERATION_KEY >> 2)] = NOBODY;
    }
    at += SLOT >> 2;
  }
  const left = slots - commands.length;
  if (left > 0) run[at + (OPERATION_CODE >> 2)] = OP_SKIP | (left << (OPERATION_SLOTS << 3));
  ring.write(position, new Uint8Array(run.buffer), slots);
  ring.publish(position, slots);
}
