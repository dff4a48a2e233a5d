export const twice: unknown;
export const fill: unknown;
