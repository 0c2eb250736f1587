import fc from 'fast-check';
import type { RotationWindow } from '../../src/core/schedule.ts';
import { kubeletWindow } from '../../src/core/schedule.ts';

/** The narrowest windows at both limits that the configuration sets. */
export const extremeWindows: readonly RotationWindow[] = [
  { from: 0.1, to: 0.11 },
  { from: 0.94, to: 0.95 },
];

/** Any window that the configuration allows. */
export const rotationWindow: fc.Arbitrary<RotationWindow> = fc.oneof(
  fc.constantFrom(kubeletWindow, ...extremeWindows),
  fc
    .tuple(fc.integer({ min: 100, max: 950 }), fc.integer({ min: 100, max: 950 }))
    .filter(([a, b]) => a !== b)
    .map(([a, b]) => ({ from: Math.min(a, b) / 1_000, to: Math.max(a, b) / 1_000 })),
);
