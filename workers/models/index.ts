import { SabtreeError, show } from '../../engine/errors.ts';
import type { ExecutionModel, ModelName } from './model.ts';
import { optPsmr } from './opt-psmr.ts';
import { psmr } from './psmr.ts';
import { smr } from './smr.ts';

/** All execution models, by name. */
export const MODELS: Readonly<Record<ModelName, ExecutionModel>> = { smr, psmr, 'opt-psmr': optPsmr };

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
