import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../config/duration.ts';

/** A duration in seconds. @throws InvalidArgumentError if the text is not a duration */
export function parseTimeout(text: string): number {
  const seconds = parseDuration(text);
  if (seconds === undefined) {
    throw new InvalidArgumentError('expected a duration such as 90s or 5m');
  }
  return seconds;
}
