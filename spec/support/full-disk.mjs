/** A store whose log may not grow beyond what the shell that started this process allows; tells what came of it. */
import { open } from '../../dist/index.js';

const store = await open({ key: 'u32', value: 'f64', memory: '16MB', replicas: 2, log: { path: process.argv[2] } });
const events = [];
store.onEvent((event) => events.push(event.type));
let answered = 0;
let error;
try {
  for (; ; answered++) await store.put(answered, answered);
} catch (reason) {
  error = { code: reason.code, message: reason.message };
}
const late = await store.get(0).catch((reason) => reason.code);
const direct = store.tree.get(answered - 1);
const status = store.status().state;
await store.close();
console.log(JSON.stringify({ answered, error, late, direct, status, events }));
