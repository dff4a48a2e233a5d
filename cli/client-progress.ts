/** What client threads tell while they work, through one shared array of doubles. */

/** Places in the shared progress array, per client. */
export const PROGRESS_LOADED = 0;
export const PROGRESS_COMMANDS = 1;
export const PROGRESS_LOOKUPS = 2;
/** Set to 1 from outside: stop early. */
export const PROGRESS_STOP = 3;
export const PROGRESS_SIZE = 4;
