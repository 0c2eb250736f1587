import { relative } from 'node:path';
import { Readable } from 'node:stream';
import type { TestEvent } from 'node:test/reporters';
import { spec } from 'node:test/reporters';

/**
 * A reporter for Node's test runner: one line and the measured values for a file that
 * passes, everything for a file that fails, and Node's own closing summary. A failure
 * must not drown in hundreds of passed tests.
 */
// oxlint-disable-next-line import/no-default-export -- what --test-reporter loads
export default async function* reporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  yield* Readable.from(condense(source)).pipe(new spec()) as AsyncIterable<string>;
}

/** Holds back the events of each file until the file has passed or failed. */
async function* condense(source: AsyncIterable<TestEvent>): AsyncGenerator<TestEvent> {
  const held = new Map<string, TestEvent[]>();
  for await (const event of source) {
    const file = event.data !== undefined && 'file' in event.data ? event.data.file : undefined;
    if (file === undefined) {
      yield* flush(held, event);
    } else if (event.type === 'test:summary' && event.data.success) {
      yield passed(file, event.data);
      yield* (held.get(file) ?? []).filter(({ type }) => type === 'test:diagnostic');
      held.delete(file);
    } else {
      held.set(file, [...(held.get(file) ?? []), event]);
    }
  }
}

/**
 * Passes on an event that belongs to no file, after the events of failed files if it is
 * part of the summary.
 */
function* flush(held: Map<string, TestEvent[]>, event: TestEvent): Generator<TestEvent> {
  if (event.type === 'test:diagnostic' || event.type === 'test:summary') {
    for (const events of held.values()) yield* events;
    held.clear();
  }
  yield event;
}

function passed(
  file: string,
  { counts, duration_ms: ms }: Extract<TestEvent, { type: 'test:summary' }>['data'],
): TestEvent {
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
  const line = `✔ ${relative('', file)} (${counts.tests} tests${skipped}, ${Math.round(ms)} ms)\n`;
  return { type: 'test:stdout', data: { file, message: line } };
}
