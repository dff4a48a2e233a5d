/** `sabtree bench`: the experiment over the execution models, which lives in perf/models. */
export { bench } from '../perf/models/command.ts';
