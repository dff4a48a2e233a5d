/** The other executor of a sync point: it stands, waits to be let go, and stands again. */
import { parentPort, workerData } from 'node:worker_threads';
import { Barrier } from '../../workers/barrier.ts';
import { Signals } from '../../workers/signals.ts';
import { Streams } from '../../workers/streams.ts';
import { waitStrategy } from '../../workers/waiting.ts';
import type { PartnerOrders } from './streams.ts';

const { streams: memory, wait } = workerData as PartnerOrders;
const streams = Streams.attach(memory);
const barrier = new Barrier(streams, 0, 1, new Signals(streams, 0, 1, waitStrategy(wait)));
parentPort?.postMessage('ready');
for (let number = 1; barrier.standBy(number, 0); number++);
