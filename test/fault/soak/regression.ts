/** One value after a number of rotations or ticks. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The slope of the least-squares line through the points. */
export function slopeOf(points: readonly Point[]): number {
  const meanX = mean(points.map(({ x }) => x));
  const meanY = mean(points.map(({ y }) => y));
  const covariance = mean(points.map(({ x, y }) => (x - meanX) * (y - meanY)));
  const variance = mean(points.map(({ x }) => (x - meanX) ** 2));
  if (!(variance > 0)) throw new Error(`${points.length} points have no slope`);
  return covariance / variance;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
