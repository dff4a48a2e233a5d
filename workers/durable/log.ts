/**
 * The log: every command that changes something, in one order, in files.
 *
 * Its thread reads all rings like an executor of all groups: within a group in the order of the ring, and where a command
 * to several groups stands it waits until all of these groups' rings have come to it. So what it writes is one order that
 * agrees with that of every replica: commands that it puts in another order than they were sent touch different keys.
 * Reads and what the store sends itself are passed over; so are commands that come again after a failover, for they
 * stand further ahead already.
 *
 * What a user-defined command came to is told by the command, but not whether it was given up for its time: that the log is
 * told by the replicas (verdicts.ts), and writes it behind the command.
 *
 * Replicas take only what the log has released (the ring's gate). So what was answered, or seen by a direct read, is in the
 * log; and neither the loss of a replica nor a takeover means anything to it.
 *
 * A directory has segments and at most two snapshots. Snapshot n holds everything before segment n.
 */
import {
  LOG_BEHIND,
  LOG_COMMANDS,
  LOG_COUNTER_COUNT,
  LOG_COUNTERS,
  LOG_CUT,
  LOG_CUT_COMMANDS,
  LOG_CUT_SEGMENT,
  LOG_FRAMES,
  LOG_LAST_SYNC,
  LOG_LONGEST_SYNC,
  LOG_SEGMENT,
  LOG_SEGMENTS,
  LOG_SIGNAL,
  LOG_SLEEPING,
  LOG_SYNCS,
  LOG_WRITTEN,
} from '../../layout/durable.ts';
import {
  OP_CALL,
  OP_HAS,
  OP_LAST_POINT,
  OP_MARKER,
  OP_PUT_ALL,
  OP_RETRY,
  OP_SNAPSHOT,
  OPERATION_FLAGS,
  OPERATION_GROUPS,
  OPERATION_KEY,
  OPERATION_NUMBER,
  OPERATION_RESENT,
  OPERATION_RUN,
  OPERATION_VALUE,
  OPERATION_WATCHED_GROUP,
  SLOT,
} from '../../layout/operation.ts';
import { STATE_READ_ONLY } from '../../layout/streams.ts';
import { GroupRing, RingReader } from '../ring.ts';
import type { Streams } from '../streams.ts';
import { Verdicts } from '../verdicts.ts';
import type { WaitStrategy } from '../waiting.ts';
import type { Files, OpenFile } from './files.ts';
import {
  FORMAT,
  FRAME_CLOSED,
  FRAME_COMMANDS,
  FRAME_GIVEN_UP,
  FRAME_HEADER,
  FRAME_SEGMENT,
  frameSize,
  GIVEN_UP_ENTRY,
  type Schema,
  sealFrame,
  textFrame,
} from './frames.ts';

/** When the log is brought to the disk: before anything is carried out and answered, at intervals, or when the system likes. */
export type FsyncPolicy = 'always' | 'interval' | 'never';

/** Slots of commands gathered for one frame, at least (4 MiB). */
const GATHER = 65536;

const NAME = /^(log|snapshot)-(\d{10})$/;

/** Name of a segment. */
export function segmentName(segment: number): string {
  return `log-${String(segment).padStart(10, '0')}`;
}

/** Name of the snapshot of everything before a segment. */
export function snapshotName(segment: number): string {
  return `snapshot-${String(segment).padStart(10, '0')}`;
}

/** What a name in a log's directory stands for. */
export function parseName(name: string): { readonly kind: 'log' | 'snapshot'; readonly segment: number } | undefined {
  const match = NAME.exec(name);
  return match === null ? undefined : { kind: match[1] as 'log' | 'snapshot', segment: Number(match[2]) };
}

/** Whether a record changes anything where it stands. */
function isLogged(op: number, flags: number): boolean {
  if ((flags & OPERATION_RESENT) !== 0) return false;
  return (op > OP_HAS && op <= OP_LAST_POINT) || (op >= OP_PUT_ALL && op <= OP_CALL);
}

/** Where a log goes on. */
export interface LogStart {
  readonly directory: string;
  /** Number of the segment to begin. */
  readonly segment: number;
  /** Commands in the log so far. */
  readonly commands: number;
  /** Bytes of the segment before; -1 if there is none. */
  readonly previous: number;
  /** Segments and their bytes since the newest snapshot. */
  readonly segments: number;
  readonly behind: number;
}

/** One group's ring, and the piece of it that was copied out last. */
interface Stream {
  readonly group: number;
  readonly ring: GroupRing;
  readonly reader: RingReader;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  /** Position of the copy's first slot. */
  base: number;
  /** Slots of the copy done, and slots in it. */
  at: number;
  end: number;
  /** The run that `at` is in. */
  runStart: number;
  runEnd: number;
  /** Multicast number of the command this stream stands at; 0 if it does not stand. */
  standing: number;
  /** Position up to which replicas may read. */
  released: number;
}

/** Writes the log. One thread of a store does. */
export class LogWriter {
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly files: Files;
  private readonly directory: string;
  private readonly schema: Schema;
  private readonly fsync: FsyncPolicy;
  private readonly interval: number;
  private readonly own: readonly Stream[];
  private readonly counters: Float64Array;
  private readonly verdicts: Verdicts;
  /** Place for a frame's header, then the commands gathered. */
  private readonly room: Uint8Array;
  private readonly most: number;
  private gathered = 0;
  private gatheredCommands = 0;
  /** Slots in the streams' copies that are not done. */
  private held = 0;
  private file: OpenFile | undefined;
  private segment: number;
  /** Commands in the log, those gathered left out. */
  private commands: number;
  /** Bytes of the segment: written, and on the disk. */
  private written = 0;
  private safe = 0;
  private dirtySince = 0;

  /** @throws ERR_IO */
  constructor(streams: Streams, files: Files, start: LogStart, schema: Schema, fsync: FsyncPolicy, interval: number) {
    this.streams = streams;
    this.words = streams.words;
    this.files = files;
    this.directory = start.directory;
    this.schema = schema;
    this.fsync = fsync;
    this.interval = interval;
    const { groups, replicas } = streams.shape;
    const { maxRun } = streams;
    this.own = Array.from({ length: groups }, (_, group): Stream => {
      const bytes = new Uint8Array(maxRun * SLOT);
      const reader = new RingReader(streams, group, replicas);
      const base = reader.position;
      return {
        ...{ group, ring: new GroupRing(streams, group), reader, bytes, words: new Int32Array(bytes.buffer), base },
        ...{ at: 0, end: 0, runStart: 0, runEnd: 0, standing: 0, released: base },
      };
    });
    this.most = Math.max(GATHER, groups * maxRun);
    this.room = new Uint8Array(frameSize(this.most * SLOT));
    this.counters = new Float64Array(streams.memory, streams.durableAt + LOG_COUNTERS, LOG_COUNTER_COUNT);
    this.verdicts = new Verdicts(streams);
    this.segment = start.segment;
    this.commands = start.commands;
    this.counters[LOG_COMMANDS] = start.commands;
    this.counters[LOG_BEHIND] = start.behind;
    this.counters[LOG_SEGMENTS] = start.segments;
    this.begin(start.previous);
  }

  private word(offset: number): number {
    return (this.streams.durableAt + offset) >> 2;
  }

  // --- reading ------------------------------------------------------------------------------------------------------

  /** Writes until the store ends, then what is left, and closes the log. @throws ERR_IO: what is not released will not be */
  run(wait: WaitStrategy): void {
    const { words, streams } = this;
    const open = () => streams.state <= STATE_READ_ONLY;
    for (let looks = 0; open(); ) {
      if (this.step()) {
        looks = 0;
        continue;
      }
      if (!wait.idle(looks++)) continue;
      looks = 0;
      // The flag, then the last look, then sleep: see GroupRing.wakeLog.
      const ticket = Atomics.load(words, this.word(LOG_SIGNAL));
      Atomics.store(words, this.word(LOG_SLEEPING), 1);
      if (!this.step() && open()) Atomics.wait(words, this.word(LOG_SIGNAL), ticket, this.untilSync());
      Atomics.store(words, this.word(LOG_SLEEPING), 0);
    }
    while (this.step());
    this.close();
  }

  /** Takes what there is, writes it, and releases it; false if there was nothing. @throws ERR_IO */
  step(): boolean {
    this.noteGivenUp();
    let moved = false;
    for (let again = true; again; ) {
      again = false;
      for (const stream of this.own) if (this.advance(stream)) again = true;
      if (again) moved = true;
    }
    if (moved) {
      this.flush();
      for (const stream of this.own) this.release(stream);
    }
    if (this.untilSync() === 0) this.sync();
    return moved;
  }

  /** Milliseconds until the log has to be brought to the disk; without an end if there is nothing to bring. */
  private untilSync(): number {
    if (this.fsync !== 'interval' || this.safe === this.written) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.dirtySince + this.interval - performance.now());
  }

  /** Takes what stands next in one stream, as far as there is room. False if nothing was done. */
  private advance(stream: Stream): boolean {
    if (stream.standing !== 0 || (stream.at === stream.end && !this.refill(stream))) return false;
    const { bytes, words } = stream;
    /** First slot of what is to be gathered together, -1 if there is nothing yet. */
    let from = -1;
    const gather = () => {
      if (from < 0) return;
      this.room.set(bytes.subarray(from * SLOT, stream.at * SLOT), FRAME_HEADER + this.gathered * SLOT);
      this.gathered += stream.at - from;
      from = -1;
    };
    const first = stream.at;
    while (stream.at < stream.end) {
      const record = (stream.at * SLOT) >> 2;
      if (stream.at === stream.runEnd) {
        stream.runStart = stream.at;
        stream.runEnd += words[record + (OPERATION_RUN >> 2)];
      }
      if (words[record + (OPERATION_GROUPS >> 2)] !== 0) {
        gather();
        stream.standing = words[record + (OPERATION_NUMBER >> 2)];
        if (!this.meet(stream)) break;
        continue;
      }
      const head = words[record];
      const logged = isLogged(head & 0xff, (head >>> 8) & 0xff);
      if (!logged) gather();
      else {
        this.stamp(stream);
        if (from < 0) from = stream.at;
        this.gatheredCommands++;
      }
      if ((head & 0xff) === OP_SNAPSHOT) this.cut(words, record);
      stream.at += head >>> 16;
      this.held -= head >>> 16;
    }
    gather();
    return stream.at > first || stream.standing !== 0;
  }

  private refill(stream: Stream): boolean {
    const { reader, bytes } = stream;
    const slots = reader.poll(bytes.length / SLOT);
    // Whatever is held is gathered in the end, so there has to be room for all of it.
    if (slots === 0 || this.gathered + this.held + slots > this.most) return false;
    stream.base = reader.position;
    reader.copyTo(bytes, 0, slots);
    reader.advance(slots);
    stream.at = 0;
    stream.end = slots;
    stream.runStart = 0;
    stream.runEnd = 0;
    this.held += slots;
    return true;
  }

  /** If all streams that a command went to stand at it: takes it, and lets them go on. */
  private meet(stream: Stream): boolean {
    const { own } = this;
    const number = stream.standing;
    const groups = stream.words[((stream.at * SLOT) >> 2) + (OPERATION_GROUPS >> 2)];
    for (const { group, standing } of own) if ((groups >>> group) & 1 && standing !== number) return false;
    for (const each of own) {
      if (((groups >>> each.group) & 1) === 0) continue;
      const record = (each.at * SLOT) >> 2;
      const head = each.words[record];
      const op = head & 0xff;
      const slots = head >>> 16;
      if (op === OP_SNAPSHOT) this.cut(each.words, record);
      else if (op !== OP_MARKER && op !== OP_RETRY && isLogged(op, (head >>> 8) & 0xff)) {
        this.stamp(each);
        this.room.set(
          each.bytes.subarray(each.at * SLOT, (each.at + slots) * SLOT),
          FRAME_HEADER + this.gathered * SLOT,
        );
        this.gathered += slots;
        this.gatheredCommands++;
      }
      each.at += slots;
      this.held -= slots;
      each.standing = 0;
    }
    return true;
  }

  /** Writes into the copy of a user-defined command where it stands: so it is named if it is given up. (Its run has been read.) */
  private stamp({ words, bytes, base, at, group }: Stream): void {
    const record = (at * SLOT) >> 2;
    if ((words[record] & 0xff) !== OP_CALL) return;
    words[record + (OPERATION_RUN >> 2)] = (base + at) | 0;
    bytes[at * SLOT + OPERATION_FLAGS] = (bytes[at * SLOT + OPERATION_FLAGS] & ~OPERATION_WATCHED_GROUP) | group;
  }

  /** Lets replicas take what was written, up to the end of the last whole run. */
  private release(stream: Stream): void {
    const done = stream.at === stream.runEnd ? stream.at : stream.runStart;
    const position = (stream.base + done) >>> 0;
    if (position === stream.released) return;
    stream.released = position;
    stream.ring.release(position);
  }

  // --- writing ------------------------------------------------------------------------------------------------------

  /** Begins a segment: on the disk before anything is written to it, with the promise that the one before is whole. */
  private begin(previous: number): void {
    const { files, directory, segment, commands } = this;
    const path = files.join(directory, segmentName(segment));
    const file = files.create(path);
    if (file === undefined) throw new Error(`${path} is there already`);
    this.file = file;
    const { key, value, valueSize } = this.schema;
    const header = { kind: 'log', format: FORMAT, segment, previous, key, value, valueSize };
    const frame = textFrame(FRAME_SEGMENT, header, commands, 0);
    file.write(frame);
    file.sync();
    files.syncDirectory(directory);
    this.written = frame.length;
    this.safe = frame.length;
    const { counters } = this;
    counters[LOG_SEGMENT] = segment;
    counters[LOG_SEGMENTS]++;
    counters[LOG_BEHIND] += frame.length;
    counters[LOG_WRITTEN] += frame.length;
  }

  /** Writes what was gathered as one frame, and brings it to the disk if that is the policy. */
  private flush(): void {
    const { gathered, gatheredCommands, counters } = this;
    if (gathered === 0) return;
    this.append(sealFrame(this.room, FRAME_COMMANDS, gathered * SLOT, this.commands, this.safe));
    this.commands += gatheredCommands;
    this.gathered = 0;
    this.gatheredCommands = 0;
    counters[LOG_COMMANDS] = this.commands;
    counters[LOG_FRAMES]++;
    if (this.fsync === 'always') this.sync();
  }

  /** Writes what was given up. Who has given it up waits for that before he goes on. @throws ERR_IO */
  noteGivenUp(): void {
    const { verdicts } = this;
    const found = this.streams.shape.calls ? verdicts.unlogged() : [];
    if (found.length === 0) return;
    const bytes = found.length * GIVEN_UP_ENTRY;
    const frame = new Uint8Array(frameSize(bytes));
    const view = new DataView(frame.buffer, FRAME_HEADER);
    for (const [i, { group, position }] of found.entries()) {
      view.setUint32(i * GIVEN_UP_ENTRY, group, true);
      view.setInt32(i * GIVEN_UP_ENTRY + 4, position, true);
    }
    this.append(sealFrame(frame, FRAME_GIVEN_UP, bytes, this.commands, this.safe));
    if (this.fsync === 'always') this.sync();
    verdicts.logged(found);
  }

  private append(frame: Uint8Array): void {
    if (this.safe === this.written) this.dirtySince = performance.now();
    (this.file as OpenFile).write(frame);
    this.written += frame.length;
    this.counters[LOG_BEHIND] += frame.length;
    this.counters[LOG_WRITTEN] += frame.length;
  }

  private sync(): void {
    if (this.safe === this.written) return;
    const began = performance.now();
    (this.file as OpenFile).sync();
    this.safe = this.written;
    const { counters } = this;
    const took = Math.round((performance.now() - began) * 1000);
    counters[LOG_SYNCS]++;
    counters[LOG_LAST_SYNC] = took;
    counters[LOG_LONGEST_SYNC] = Math.max(counters[LOG_LONGEST_SYNC], took);
  }

  /** The place of a snapshot; a new segment begins there if it is to replace the log so far. */
  private cut(words: Int32Array, record: number): void {
    if (words[record + (OPERATION_VALUE >> 2)] === 1) {
      this.flush();
      this.sync();
      (this.file as OpenFile).close();
      this.file = undefined;
      this.segment++;
      // Counted anew from here: what is before, the snapshot will hold. (Should it fail, the keeper tries again.)
      this.counters[LOG_BEHIND] = 0;
      this.counters[LOG_SEGMENTS] = 0;
      this.begin(this.written);
    }
    const at = this.word(LOG_CUT);
    this.words[this.word(LOG_CUT_SEGMENT)] = this.segment;
    const commands = new Float64Array(this.streams.memory, this.streams.durableAt + LOG_CUT_COMMANDS, 1);
    commands[0] = this.commands + this.gatheredCommands;
    // Before the gate lets any replica come to the place.
    Atomics.store(this.words, at, words[record + ((OPERATION_KEY + 4) >> 2)]);
  }

  /** Says that the log ends here in order, and brings all of it to the disk, whatever the policy. */
  close(): void {
    const { file } = this;
    if (file === undefined) return;
    this.sync();
    this.append(sealFrame(new Uint8Array(frameSize(0)), FRAME_CLOSED, 0, this.commands, this.safe));
    this.sync();
    file.close();
    this.file = undefined;
  }
}
