import type { AnyStore } from './stores.ts';

export function spelt(store: unknown, type?: string): AnyStore;
