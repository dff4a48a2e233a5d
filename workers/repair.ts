/**
 * Mending what a thread left behind that died while it appended: a run it had claimed and not published, in one ring or,
 * under the multicast lock, in several. Readers wait for such a run for ever, so it is filled with records that do nothing.
 *
 * Whoever claims announces the claim before the compare-and-swap, and says behind it that it came about. So only a claim
 * that is announced and no more may or may not have come about: then the ring's claim position still stands there, or the
 * place is published (by somebody else, for its claimer had not got that far), or somebody else announced it too.
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
  SLOT,
} from '../layout/operation.ts';
import {
  CLAIM_MADE,
  CLAIM_PUBLISHED,
  CLIENT_FREE,
  CLIENT_STATE,
  CLIENT_USED,
  MANIFEST,
  MANIFEST_COUNT,
  MANIFEST_ENTRY,
  MANIFEST_RETRY,
  MULTICAST_LOCK,
  RING_CLAIM,
} from '../layout/streams.ts';
import { claimsWord } from './multicast.ts';
import { announcementOf, FULL, GroupRing } from './ring.ts';
import type { Streams } from './streams.ts';

/** A claim that somebody announced. */
interface Claim {
  readonly group: number;
  readonly position: number;
  readonly slots: number;
  /** It came about. */
  readonly made: boolean;
  readonly published: boolean;
}

/** What an announcement's three words say; undefined if nothing is announced. */
function announced(streams: Streams, word: number): Claim | undefined {
  const { words } = streams;
  const first = Atomics.load(words, word);
  if (first === 0) return undefined;
  return {
    group: (first & 0xff) - 1,
    position: words[word + 1],
    slots: words[word + 2],
    made: (first & CLAIM_MADE) !== 0,
    published: (first & CLAIM_PUBLISHED) !== 0,
  };
}

/** 'none': the claim never came about. 'open': claimed, not published. 'unclear': a living thread announced the same place. */
type Standing = 'none' | 'open' | 'published' | 'unclear';

/**
 * @param own word index of the claim's announcement. @param holder who holds the multicast lock and is dead, 0 if nobody.
 */
function standingOf(streams: Streams, ring: GroupRing, claim: Claim, own: number, holder: number): Standing {
  const { words } = streams;
  if (claim.published) return 'published';
  const head = Atomics.load(words, (streams.ring(claim.group) + RING_CLAIM) >> 2);
  if (((head - claim.position) | 0) <= 0) return 'none';
  const open = ring.isOpen(claim.position);
  if (claim.made) return open ? 'open' : 'published';
  if (!open) return 'none';
  for (const { other, lives } of othersAt(streams, claim, own, holder)) {
    if (lives) return 'unclear';
    // Both are dead. It is that one's if it says so, or if only its length fits what was claimed next.
    if (other.made || (fits(streams, ring, other, head) && !fits(streams, ring, claim, head))) return 'none';
  }
  return 'open';
}

/** Whether the next claim began where this one would have ended. */
function fits(streams: Streams, ring: GroupRing, { group, position, slots }: Claim, head: number): boolean {
  const end = (position + slots) | 0;
  if (end === head) return true;
  if (((head - end) | 0) < 0) return false;
  return !ring.isOpen(end) || othersAt(streams, { group, position: end }, 0, 0).length > 0;
}

/** The other announcements of a place, of clients and of the multicast lock's holder. */
function othersAt(
  streams: Streams,
  place: Pick<Claim, 'group' | 'position'>,
  own: number,
  holder: number,
): { other: Claim; lives: boolean }[] {
  const { words, shape } = streams;
  const found: { other: Claim; lives: boolean }[] = [];
  const look = (word: number, lives: boolean) => {
    if (word === own) return;
    const other = announced(streams, word);
    if (other?.group === place.group && other.position === place.position) found.push({ other, lives });
  };
  for (let client = 0; client < shape.clients; client++) {
    const state = Atomics.load(words, (streams.client(client) + CLIENT_STATE) >> 2);
    if (state !== CLIENT_FREE) look(announcementOf(streams, client), state === CLIENT_USED);
  }
  look(claimsWord(place.group), Atomics.load(words, MULTICAST_LOCK >> 2) !== holder);
  return found;
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
  const standing = standingOf(streams, ring, claim, word, 0);
  if (standing === 'unclear') return false;
  if (standing === 'open') fill(ring, claim.position, claim.slots, []);
  Atomics.store(streams.words, word, 0);
  return true;
}

/**
 * Mends what the dead holder of the multicast lock left, and gives the lock back. The commands it was appending are
 * completed: each gets its markers in the rings that it did not reach, so that nobody stands at it for ever. If the
 * payload was not published, a command does nothing.
 * @returns false if it has to be tried again.
 */
export function mendLock(streams: Streams, holder: number): boolean {
  const { words, shape } = streams;
  if (Atomics.load(words, MULTICAST_LOCK >> 2) !== holder) return true;
  // None: it had not begun, or all commands stand.
  const commands = manifestOf(streams);
  const all = shape.groups === 32 ? -1 : (1 << shape.groups) - 1;
  for (let group = 0; group < shape.groups; group++) {
    const word = claimsWord(group);
    const claim = announced(streams, word);
    const ring = new GroupRing(streams, group);
    const standing = claim === undefined ? 'none' : standingOf(streams, ring, claim, word, holder);
    if (standing === 'unclear') return false;
    if (standing === 'published') continue;
    const here = commands.filter((record) => (record[OPERATION_GROUPS >> 2] >>> group) & 1);
    let position: number;
    if (standing === 'open') {
      ({ position } = claim as Claim);
      fill(ring, position, (claim as Claim).slots, here);
    } else {
      if (here.length === 0) continue;
      // The holder had found room for them, in the part that only the lock's holder uses.
      position = ring.tryClaim(here.length, 0, word);
      if (position === FULL) return false;
      fill(ring, position, here.length, here);
    }
    Atomics.store(words, word, (group + 1) | CLAIM_MADE | CLAIM_PUBLISHED);
    const last = here.findLastIndex((record) => record[OPERATION_GROUPS >> 2] === all);
    if (last >= 0) ring.noteMarker(position + last);
  }
  Atomics.store(words, MANIFEST_COUNT >> 2, 0);
  for (let group = 0; group < shape.groups; group++) Atomics.store(words, claimsWord(group), 0);
  Atomics.store(words, MULTICAST_LOCK >> 2, 0);
  return true;
}

/** The commands that the lock's holder was appending, in the order of their numbers, as markers. */
function manifestOf(streams: Streams): Int32Array[] {
  const { words } = streams;
  return Array.from({ length: Atomics.load(words, MANIFEST_COUNT >> 2) }, (_, i) => {
    const entry = (MANIFEST + i * MANIFEST_ENTRY) >> 2;
    const own = words[entry + 2];
    const marker = new Int32Array(SLOT >> 2);
    marker[OPERATION_CODE >> 2] = ((own & MANIFEST_RETRY) !== 0 ? OP_RETRY : OP_MARKER) | (1 << 16);
    marker[OPERATION_CLIENT >> 2] = NOBODY;
    marker[OPERATION_NUMBER >> 2] = words[entry];
    marker[OPERATION_GROUPS >> 2] = words[entry + 1];
    marker[OPERATION_KEY >> 2] = own & 0xff;
    return marker;
  });
}

/** Publishes a run that stands at these commands, and does nothing else. */
function fill(ring: GroupRing, position: number, slots: number, commands: readonly Int32Array[]): void {
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
  if (left > 0) run[at + (OPERATION_CODE >> 2)] = OP_SKIP | (left << 16);
  ring.write(position, new Uint8Array(run.buffer), slots);
  ring.publish(position, slots);
}
