/** `sabtree inspect`: what a snapshot, a segment of a log, or a log's directory holds, and whether it is whole. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { keyOrder } from '../engine/key-order.ts';
import { keyCode } from '../engine/shape.ts';
import { type KeyType, SabtreeError } from '../index.ts';
import { CALL_COMMAND, OP_CALL, OPERATION_CODE } from '../layout/operation.ts';
import { FlagError, parseLine } from '../perf/support/flags.ts';
import { commandHash, readCall } from '../workers/call-record.ts';
import { COMMANDS } from '../workers/commands.ts';
import { FileSource, type Source } from '../workers/durable/files.ts';
import { files } from '../workers/durable/files-node.ts';
import { FRAME_COMMANDS, FRAME_SEGMENT, readFrame, textOf, valueName } from '../workers/durable/frames.ts';
import { parseName } from '../workers/durable/log.ts';
import { checkTail, eachRecord, scanSegment } from '../workers/durable/recovery.ts';
import { type SnapshotInfo, SnapshotReader } from '../workers/durable/snapshot.ts';
import { table } from './table.ts';

const HELP = `sabtree inspect FILE... [options]

Reads snapshots, segments of a log, or all of a log's directory, verifies every checksum, and says
what they hold. Nothing is changed.

  --json            print one JSON object for each file instead of a table
  --help            print this

Exit codes: 0 all of it is whole, 1 something is damaged (the first fault is named, with its
offset), or cannot be read, 2 a wrong call.
`;

/** What was found in one file. */
type Report = { readonly file: string; readonly damage: string | undefined } & (
  | ({ readonly kind: 'snapshot' } & Omit<SnapshotInfo, 'digest'> & { readonly digest: string })
  | {
      readonly kind: 'log';
      readonly segment: number;
      readonly key: string;
      readonly value: string;
      /** Commands in the log before this segment, and in it. */
      readonly before: number;
      readonly commands: number;
      /** Notes of user-defined commands that were stopped for their time, and changed nothing. */
      readonly givenUp: number;
      readonly byName: Readonly<Record<string, number>>;
      readonly frames: number;
      readonly bytes: number;
      /** How it ends: closed in order; simply behind its last frame; or with bytes that did not come through. */
      readonly end: 'closed' | 'open' | 'torn';
      readonly tornBytes: number;
    }
  | { readonly kind: 'unknown' }
);

const NAMES = new Map<number, string>(Object.entries(COMMANDS).map(([name, code]) => [code, name]));
/** Commands that stand in the log by the hash of their names. */
const BUILT_IN = new Map(
  ['atomic', 'compareAndSetAll', 'putAll', 'write'].map((name) => [commandHash(`sabtree:${name}`), name]),
);

/** The name of a record's command; of a user's command only the hash of it is in the log. @param key type of the keys */
function commandName(record: Uint8Array, key: string): string {
  const code = record[OPERATION_CODE];
  if (code !== OP_CALL) return NAMES.get(code) ?? `command ${code}`;
  // In memory of its own it is aligned.
  const bytes = record.slice();
  const words = new Int32Array(bytes.buffer);
  const hash = words[CALL_COMMAND >> 2];
  const name = BUILT_IN.get(hash);
  if (name === undefined) return `user-defined, hash ${(hash >>> 0).toString(16).padStart(8, '0')}`;
  if (name !== 'write') return name;
  // An operation on one key, of a store whose keys or values vary in length.
  const [operation] = readCall(bytes, words, 0, keyOrder(keyCode(key as KeyType))).bytes;
  return NAMES.get(operation) ?? name;
}

function message(error: unknown): string {
  if (error instanceof SabtreeError) return `${error.message} (${error.code})`;
  throw error;
}

function inspectSnapshot(file: string, source: Source): Report {
  const reader = new SnapshotReader(source, undefined);
  const { info } = reader;
  const report = { file, kind: 'snapshot' as const, ...info, digest: info.digest.toString(16).padStart(16, '0') };
  try {
    for (const _ of reader.pieces());
    return { ...report, damage: undefined };
  } catch (error) {
    return { ...report, damage: message(error) };
  }
}

/** @param last whether no other segment follows: if one does, everything in this one was safe. */
function inspectSegment(file: string, source: Source, last: boolean): Report {
  const byName: Record<string, number> = {};
  const head = readFrame(source, 0);
  const key = String(head && textOf(head)?.key);
  const found = scanSegment(source, undefined, ({ kind, body }) => {
    if (kind !== FRAME_COMMANDS) return;
    eachRecord(body, (at, bytes) => {
      const name = commandName(body.subarray(at, at + bytes), key);
      byName[name] = (byName[name] ?? 0) + 1;
    });
  });
  if (found === undefined) return { file, kind: 'unknown', damage: `${file}: no header` };
  let damage: string | undefined;
  try {
    if (found.bytes < source.size) checkTail(source, found);
    if (found.bytes < source.size && !last)
      damage = `${file}: damage in a segment that was whole, at offset ${found.bytes}`;
  } catch (error) {
    damage = message(error);
  }
  const { header, first, commands, frames, bytes, closed, givenUp } = found;
  const tornBytes = source.size - bytes;
  return {
    ...{ file, kind: 'log', damage, before: first, commands, givenUp, byName, frames, bytes, tornBytes },
    ...{ segment: Number(header.segment), key: String(header.key), value: String(header.value) },
    end: tornBytes > 0 ? 'torn' : closed ? 'closed' : 'open',
  };
}

function inspect(file: string, last: boolean): Report {
  let source: FileSource | undefined;
  try {
    source = new FileSource(files, file);
    const isLog =
      readFrame(source, 0)?.kind === FRAME_SEGMENT || parseName(file.split(/[\\/]/).pop() ?? '')?.kind === 'log';
    return isLog ? inspectSegment(file, source, last) : inspectSnapshot(file, source);
  } catch (error) {
    return { file, kind: 'unknown', damage: message(error) };
  } finally {
    source?.close();
  }
}

/** The files that a path stands for: itself, or what a log's directory has; each with whether it is the last segment. */
function filesOf(path: string): { readonly file: string; readonly last: boolean }[] {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return [{ file: path, last: true }];
  const names = files.list(path).flatMap((name) => {
    const parsed = parseName(name);
    return parsed === undefined ? [] : [{ name, ...parsed }];
  });
  names.sort((a, b) => a.segment - b.segment || (a.kind === 'snapshot' ? -1 : 1));
  const last = Math.max(...names.filter(({ kind }) => kind === 'log').map(({ segment }) => segment));
  if (names.length === 0) throw new FlagError(`${path} has no snapshot and no segment of a log`);
  return names.map(({ name, segment }) => ({ file: join(path, name), last: segment === last }));
}

function render(report: Report): string {
  const count = (value: number) => value.toLocaleString('en');
  const rows: [string, string][] = [['file', report.file]];
  if (report.kind === 'snapshot') {
    const { key, value, valueSize, entries, digest, cut, position, created, format, layout } = report;
    rows.push(
      ['a snapshot', `format ${format}, of a store with memory layout ${layout}, made ${created}`],
      ['keys, values', `${key}, ${valueName(value)} (${valueSize === 0 ? 'of any length' : `${valueSize} bytes`})`],
      ['entries', count(entries)],
      ['digest', digest],
      ['place in the order', String(cut)],
      ['commands of the log in it', position === undefined ? 'made without a log' : count(position)],
    );
  } else if (report.kind === 'log') {
    const { segment, key, value, before, commands, givenUp, byName, frames, bytes, end, tornBytes } = report;
    rows.push(
      ['a segment of a log', `number ${segment}`],
      ['keys, values', `${key}, ${valueName(value)}`],
      ['commands before it', count(before)],
      ['commands in it', count(commands)],
      ...Object.entries(byName).map(([name, n]): [string, string] => [`  ${name}`, count(n)]),
      ...(givenUp > 0 ? [['noted as stopped for their time', count(givenUp)] as [string, string]] : []),
      ['writes, bytes', `${count(frames)}, ${count(bytes)}`],
      [
        'end',
        end === 'torn'
          ? `${count(tornBytes)} bytes that did not come through`
          : end === 'closed'
            ? 'closed in order'
            : 'open',
      ],
    );
  }
  rows.push(['whole', report.damage === undefined ? 'yes' : `NO: ${report.damage}`]);
  return table(rows);
}

const FLAGS = {
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

/** Runs the command. @returns the exit code @throws FlagError */
export function inspectCommand(args: string[]): number {
  const { values, positionals } = parseLine(args, FLAGS);
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (positionals.length === 0) throw new FlagError('inspect takes at least one file');
  let damaged = false;
  for (const { file, last } of positionals.flatMap(filesOf)) {
    const report = inspect(file, last);
    if (report.damage !== undefined) damaged = true;
    process.stdout.write(`${values.json ? JSON.stringify(report) : render(report)}\n`);
  }
  return damaged ? 1 : 0;
}
