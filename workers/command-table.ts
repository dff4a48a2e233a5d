/** The commands of a store: those that are built in, and those of the modules that the user named. */
import { SabtreeError, show } from '../engine/errors.ts';
import type { ValueCodec, ValueType } from '../engine/values.ts';
import { atomicCommand, compareAndSetAllCommand } from './built-in-commands.ts';
import type { CallContext } from './call-context.ts';
import type { Payload } from './call-record.ts';
import type { DefinedCommand } from './define-command.ts';
import { variableCommands, varies } from './variable-commands.ts';

/** A command as an executor runs it. */
export interface RunnableCommand {
  readonly name: string;
  readonly hash: number;
  readonly args: Payload;
  readonly result: Payload;
  readonly readOnly: boolean;
  readonly maxResult: number;
  /** Whether it is the user's: then it may throw, and never end. */
  readonly foreign: boolean;
  /** Whether it is one operation on one key, and needs no context. */
  readonly point: boolean;
  execute(context: CallContext, args: unknown): unknown;
}

/** What a client needs to know of a user's commands. Structured-cloneable. */
export interface KnownCommand {
  /** Its name. */
  readonly name: string;
  /** Types of keys, values, arguments and result: the caller's must be the same. */
  readonly signature: string;
}

/** Whether something is a command made by `defineCommand`, also by another copy of this package. */
export function isCommand(value: unknown): value is DefinedCommand {
  return (
    typeof value === 'object' && value !== null && (value as { isSabtreeCommand?: unknown }).isSabtreeCommand === true
  );
}

/** Imports the modules, and gives the commands that they export. @throws ERR_OPTION */
export async function importCommands(urls: readonly string[]): Promise<DefinedCommand[]> {
  const commands = new Map<string, DefinedCommand>();
  for (const url of urls) {
    let module: Record<string, unknown>;
    try {
      module = (await import(/* @vite-ignore */ /* webpackIgnore: true */ url)) as Record<string, unknown>;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new SabtreeError('ERR_OPTION', `option commands: ${url} cannot be imported: ${why}`, url, { cause });
    }
    const found = Object.values(module).filter(isCommand);
    if (found.length === 0) {
      throw new SabtreeError('ERR_OPTION', `option commands: ${url} exports no command made by defineCommand`, url);
    }
    for (const command of found) {
      const other = commands.get(command.name);
      if (other !== undefined && other !== command) {
        throw new SabtreeError(
          'ERR_OPTION',
          `option commands: there are two commands ${show(command.name)}`,
          command.name,
        );
      }
      commands.set(command.name, command);
    }
  }
  return [...commands.values()];
}

/** The schema that the commands give for the store's values, if they are for such a store. @throws ERR_OPTION */
export function checkCommands(commands: readonly DefinedCommand[], key: number, signature: string): void {
  const seen = new Map<number, string>();
  for (const command of commands) {
    const { name, hash } = command;
    if (command.keyCode !== key || command.valueSignature !== signature) {
      throw new SabtreeError(
        'ERR_OPTION',
        `option commands: ${name} is for a store of other keys or values (${command.signature})`,
        name,
      );
    }
    const other = seen.get(hash);
    if (other !== undefined) {
      throw new SabtreeError(
        'ERR_OPTION',
        `option commands: the names ${other} and ${name} have one hash: rename one`,
        name,
      );
    }
    seen.set(hash, name);
  }
}

/** The value type that the commands' schemas tell, where the store's option could not travel. */
export function schemaOf(commands: readonly DefinedCommand[]): ValueType | undefined {
  return commands.find(({ valueType }) => typeof valueType !== 'string')?.valueType;
}

/** The commands by the hash of their names. */
export class CommandTable {
  private readonly commands = new Map<number, RunnableCommand>();

  /** @param values the store's; of records it may be opaque. @throws ERR_OPTION */
  constructor(user: readonly DefinedCommand[], key: number, values: ValueCodec) {
    const own = [atomicCommand(values), compareAndSetAllCommand(values)];
    if (varies(key, values)) own.push(...Object.values(variableCommands(key, values)));
    for (const command of own) {
      this.commands.set(command.hash, command);
    }
    for (const command of user) {
      const { name, hash, args, result, readOnly, maxResult } = command;
      const ours = own.find((one) => one.hash === hash);
      if (ours !== undefined) {
        throw new SabtreeError(
          'ERR_OPTION',
          `option commands: the names ${ours.name}, which is our own, and ${name} have one hash: rename it`,
          name,
        );
      }
      this.commands.set(hash, {
        ...{ name, hash, args, result, readOnly, maxResult },
        foreign: true,
        point: false,
        execute: (context, given) => command.run(context, given),
      });
    }
  }

  /** The command of that hash. */
  get(hash: number): RunnableCommand | undefined {
    return this.commands.get(hash);
  }
}
