import type { LogEvent, LogFields } from '../core/log-events.ts';
import type { Logger } from '../sys/log.ts';

/** A logger for those who keep theirs: a reload may change level and format under them. */
export class ReplaceableLogger implements Logger {
  #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  replace(logger: Logger): void {
    this.#logger = logger;
  }

  log(event: LogEvent, fields?: LogFields): void {
    this.#logger.log(event, fields);
  }
}
