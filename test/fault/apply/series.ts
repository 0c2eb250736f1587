import type { AnyNodeStepName } from '../../../src/trust/control-plane/node-step.ts';
import type { CaName } from '../../../src/trust/control-plane/task.ts';

/** One command on a control-plane node, in which each call fails once. */
export interface Series {
  readonly ca: CaName;
  /** The steps after `create` that were done before. */
  readonly earlier: readonly AnyNodeStepName[];
  readonly step: AnyNodeStepName;
  readonly action: 'apply' | 'undo';
  /** The stage from which `abort` goes back. */
  readonly stage?: 'trust' | 'switch';
}

export interface SeriesRequest extends Series {
  readonly thorough: boolean;
}

/** As after `nodecertd`. */
export function nameOf({ ca, step, action, stage }: Series): string {
  const again = step === 'abort' && stage === 'trust' ? ' after trust' : '';
  return `ca-rollover apply ${step} --ca ${ca}${action === 'undo' ? ' --undo' : ''}${again}`;
}

/** Every step of a CA with its undo, and both stages of `abort`. */
export function seriesOf(ca: CaName): Series[] {
  const steps = ['trust', 'switch', 'finish'] as const;
  const walked = steps.flatMap((step, at) =>
    (['apply', 'undo'] as const).map((action) => ({
      ca,
      earlier: steps.slice(0, at),
      step,
      action,
    })),
  );
  const abort = { ca, step: 'abort', action: 'apply' } as const;
  return [
    ...walked,
    { ...abort, earlier: ['trust', 'switch'], stage: 'switch' },
    { ...abort, earlier: ['trust', 'switch', 'abort'], stage: 'trust' },
  ];
}
