import { relative } from 'node:path';
import { Readable } from 'node:stream';
import type { TestEvent } from 'node:test/reporters';
import { spec } from 'node:test/reporters';

/**
 * Reporter for `node --test`: one line for a file that passes and what it has measured,
 * everything about one that fails, and Node's own closing summary. Hundreds of names that scroll by are
 * read by nobody; the one that fails must not be among them.
 */
// oxlint-disable-next-line import/no-default-export -- what --test-reporter loads
export default async function* reporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  yield* Readable.from(condense(source)).pipe(new spec()) as AsyncIterable<string>;
}

/** Holds the events of each file back until it is known how the file ends. */
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

/** What belongs to no file comes last, except the announcement that there is something to run. */
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
