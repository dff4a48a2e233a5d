/** `sabtree inspect`: what a snapshot, a segment of a log, or a log's directory holds, and whether it is whole. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isVariable, type KeyType } from '../engine/keys.ts';
import { keyCode } from '../engine/shape.ts';
import { SabtreeError } from '../index.ts';
import { CALL_ARGUMENTS, CALL_COMMAND, MANY_KEYS, OP_CALL, OPERATION_CODE } from '../layout/operation.ts';
import { BytesReader } from '../workers/bytes.ts';
import { commandHash } from '../workers/call-record.ts';
import { COMMANDS } from '../workers/commands.ts';
import { FileSource, type Source } from '../workers/durable/files.ts';
import { files } from '../workers/durable/files-node.ts';
import { FRAME_SEGMENT, readFrame, textOf, valueName } from '../workers/durable/frames.ts';
import { parseName } from '../workers/durable/log.ts';
import { checkTail, eachRecord, scanSegment } from '../workers/durable/recovery.ts';
import { type SnapshotInfo, SnapshotReader } from '../workers/durable/snapshot.ts';
import { table } from './table.ts';

const HELP = `sabtree inspect FILE... [--json]

Reads snapshots, segments of a log, or all of a log's directory, verifies every checksum, and says what
they hold. Nothing is changed.

  --json            print one JSON object for each file instead of a table
  --help            print this

Exit codes: 0 all of it is whole, 1 something is damaged (the first fault is named, with its offset), or
cannot be read, 2 a wrong call.
`;

/** A wrong call. */
export class InspectFlagError extends Error {}

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
/** What is carried out as a call (variable-commands.ts, built-in-commands.ts), by the hash that stands for its name. */
const CALLS = new Map(['putAll', 'atomic', 'compareAndSetAll'].map((name) => [commandHash(`sabtree:${name}`), name]));
/** One operation on one key. */
const WRITE = commandHash('sabtree:write');

/** What a command is called whose record begins there. A user's names are not in the log, only their hashes. */
function nameAt(body: Uint8Array, at: number, keysVary: boolean): string {
  let code = body[at + OPERATION_CODE];
  if (code === OP_CALL) {
    const view = new DataView(body.buffer, body.byteOffset + at, MANY_KEYS);
    const hash = view.getInt32(CALL_COMMAND, true);
    if (hash !== WRITE) return CALLS.get(hash) ?? `of the user's (hash ${(hash >>> 0).toString(16)})`;
    // The key, if it is no number, and then the operation.
    const reader = new BytesReader(body.subarray(at + MANY_KEYS + 8 + CALL_ARGUMENTS));
    if (keysVary) reader.block();
    code = reader.byte();
  }
  return NAMES.get(code) ?? `command ${code}`;
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

/** @param last whether another segment follows: then everything in this one was safe. */
function inspectSegment(file: string, source: Source, last: boolean): Report {
  const byName: Record<string, number> = {};
  const head = readFrame(source, 0);
  const type = head && textOf(head)?.key;
  const keysVary = type !== undefined && isVariable(keyCode(type as KeyType));
  const found = scanSegment(source, undefined, ({ body }) =>
    eachRecord(body, (at) => {
      const name = nameAt(body, at, keysVary);
      byName[name] = (byName[name] ?? 0) + 1;
    }),
  );
  if (found === undefined) return { file, kind: 'unknown', damage: `${file}: no header` };
  let damage: string | undefined;
  try {
    if (found.bytes < source.size) checkTail(source, found);
    if (found.bytes < source.size && !last)
      damage = `${file}: damage in a segment that was whole, at offset ${found.bytes}`;
  } catch (error) {
    damage = message(error);
  }
  const { header, first, commands, frames, bytes, closed } = found;
  const tornBytes = source.size - bytes;
  return {
    ...{ file, kind: 'log', damage, before: first, commands, byName, frames, bytes, tornBytes },
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
  if (names.length === 0) throw new InspectFlagError(`${path} has no snapshot and no segment of a log`);
  return names.map(({ name, segment }) => ({ file: join(path, name), last: segment === last }));
}

function render(report: Report): string {
  const count = (value: number) => value.toLocaleString('en');
  const rows: [string, string][] = [['file', report.file]];
  if (report.kind === 'snapshot') {
    const { key, value, valueSize, entries, digest, cut, position, created, format, layout } = report;
    rows.push(
      ['a snapshot', `format ${format}, of a store with memory layout ${layout}, made ${created}`],
      ['keys, values', `${key}, ${valueName(value)}${valueSize > 0 ? ` (${valueSize} bytes)` : ''}`],
      ['entries', count(entries)],
      ['digest', digest],
      ['place in the order', String(cut)],
      ['commands of the log in it', position === undefined ? 'made without a log' : count(position)],
    );
  } else if (report.kind === 'log') {
    const { segment, key, value, before, commands, byName, frames, bytes, end, tornBytes } = report;
    rows.push(
      ['a segment of a log', `number ${segment}`],
      ['keys, values', `${key}, ${valueName(value)}`],
      ['commands before it', count(before)],
      ['commands in it', count(commands)],
      ...Object.entries(byName).map(([name, n]): [string, string] => [`  ${name}`, count(n)]),
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

/** Runs the command. @returns the exit code */
export function inspectCommand(args: string[]): number {
  let parsed: ReturnType<typeof parseArgs<{ options: typeof FLAGS; allowPositionals: true }>>;
  try {
    parsed = parseArgs({ args, allowPositionals: true, options: FLAGS });
  } catch (error) {
    const { code, message: text } = error as Error & { code?: string };
    if (!code?.startsWith('ERR_PARSE_ARGS')) throw error;
    throw new InspectFlagError(text.split('\n')[0]);
  }
  const { values, positionals } = parsed;
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (positionals.length === 0) throw new InspectFlagError('inspect takes at least one file');
  let damaged = false;
  for (const { file, last } of positionals.flatMap(filesOf)) {
    const report = inspect(file, last);
    if (report.damage !== undefined) damaged = true;
    process.stdout.write(`${values.json ? JSON.stringify(report) : render(report)}\n`);
  }
  return damaged ? 1 : 0;
}

const FLAGS = {
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;
