export const move: unknown;
export const tidy: unknown;
export const lengths: unknown;
export const fill: unknown;
