// @FEAT:trading @COMP:service @TYPE:core

/** Why an adjustment is not recorded. */
export class AdjustmentRefused extends Error {
  override name = 'AdjustmentRefused'
}
