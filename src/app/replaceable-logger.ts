import type { LogEvent, LogFields } from '../core/log-events.ts';
import type { Logger } from '../sys/log.ts';

/** A logger that stays the same object when a reload changes its level or format. */
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
