import { SabtreeError, show } from '../../engine/errors.ts';
import { direct } from './direct.ts';
import { executeVerify } from './execute-verify.ts';
import { keyed } from './keyed.ts';
import type { ExecutionModel, ModelName } from './model.ts';
import { optPsmr } from './opt-psmr.ts';
import { pipelined } from './pipelined.ts';
import { psmr } from './psmr.ts';
import { sdpe, sdpePairwise } from './sdpe.ts';
import { smr } from './smr.ts';

/** All execution models, by name. */
export const MODELS: Readonly<Record<ModelName, ExecutionModel>> = {
  direct,
  smr,
  pipelined,
  sdpe,
  'sdpe-pairwise': sdpePairwise,
  'execute-verify': executeVerify,
  psmr,
  'opt-psmr': optPsmr,
  keyed,
};

/** The names of all execution models. */
export const modelNames = Object.keys(MODELS) as readonly ModelName[];

/** The model of that name; ERR_OPTION lists the right ones. */
export function modelOf(name: ModelName): ExecutionModel {
  if (typeof name !== 'string' || !Object.hasOwn(MODELS, name)) {
    throw new SabtreeError(
      'ERR_OPTION',
      `option model must be one of ${Object.keys(MODELS).join(', ')}, got ${show(name)}`,
      name,
    );
  }
  return MODELS[name];
}
