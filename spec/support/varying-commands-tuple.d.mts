export const twice: unknown;
