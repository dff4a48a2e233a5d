import type { DefinedCommand } from '../../dist/index.js';

type Command = DefinedCommand<unknown, unknown, unknown, unknown>;
export const transfer: Command;
export const misbehave: Command;
export const chance: Command;
export const fold: Command;
export const lookAround: Command;
export const describeKeys: Command;
export const count: Command;
export const uneven: Command;
export const linger: Command;
export const isLoaded: Command;
