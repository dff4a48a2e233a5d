/** One thing to be measured. */
export interface Case {
  readonly name: string;
  /** Operations in one call. */
  readonly operations: number;
  call(): unknown;
}
