/** One measurement, after so many rotations or ticks. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The straight line through the points by least squares: what one step of x adds to y. */
export function slopeOf(points: readonly Point[]): number {
  const meanX = mean(points.map(({ x }) => x));
  const meanY = mean(points.map(({ y }) => y));
  const covariance = mean(points.map(({ x, y }) => (x - meanX) * (y - meanY)));
  const variance = mean(points.map(({ x }) => (x - meanX) ** 2));
  if (!(variance > 0)) throw new Error(`there is no slope in ${points.length} points`);
  return covariance / variance;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
