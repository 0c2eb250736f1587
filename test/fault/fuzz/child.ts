import { writeSync } from 'node:fs';
import { secretsOf } from './secrets.ts';
import { judge } from './judge.ts';
import { MemoryWatch } from './memory-watch.ts';
import { Random } from './random.ts';
import type { FuzzTarget, Subject } from './target.ts';
import type { Broken, ChildReport, Order } from './order.ts';

/**
 * Runs one target in its own process, so that a hang, a crash or an out-of-memory error
 * ends only this process. It writes the number of the current input to a file, where
 * the parent finds it in any case.
 */
process.on('message', (order: Order) => void obey(order));

async function obey(order: Order): Promise<void> {
  const report = await run(order);
  process.send?.(report, undefined, undefined, () => process.disconnect?.());
}

/** More than a few failures have no new information. */
const mostBroken = 20;

async function run(order: Order): Promise<ChildReport> {
  const target = await targetOf(order);
  const { corpus, directory, first, count } = order;
  const secrets = secretsOf(corpus);
  const generate = target.generator(corpus);
  const subject = await target.open({ corpus, directory });
  const memory = new MemoryWatch(count);
  const outcomes = new Map<string, number>();
  const broken: Broken[] = [];
  let current = first;
  process.on('unhandledRejection', (error) => {
    broken.push({ index: current, complaint: `unhandled rejection: ${String(error)}` });
  });
  let slowestMs = 0;
  const progress = new Float64Array(1);
  for (let index = first; index < first + count && broken.length < mostBroken; index += 1) {
    current = index;
    progress[0] = index;
    writeSync(order.progress, progress, 0, 8, 0);
    const input = generate(new Random(order.seed, index));
    const start = performance.now();
    const outcome = await feed(subject, { input, secrets });
    slowestMs = Math.max(slowestMs, performance.now() - start);
    if ('complaint' in outcome) broken.push({ index, complaint: outcome.complaint });
    else outcomes.set(outcome.code, (outcomes.get(outcome.code) ?? 0) + 1);
    memory.note(index - first);
    // Node reports an unhandled rejection in the next turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await subject.close?.();
  const { user, system } = process.cpuUsage();
  const cpuSeconds = (user + system) / 1e6;
  return { outcomes: [...outcomes], broken, slowestMs, cpuSeconds, ...memory.report() };
}

async function feed(
  subject: Subject,
  { input, secrets }: { readonly input: Uint8Array; readonly secrets: ReadonlySet<string> },
): Promise<{ readonly code: string } | { readonly complaint: string }> {
  try {
    return { code: await subject.feed(input) };
  } catch (error) {
    return judge(error, secrets);
  }
}

async function targetOf({ module, target: name }: Order): Promise<FuzzTarget> {
  const { targets } = (await import(module)) as { readonly targets: readonly FuzzTarget[] };
  const found = targets.find((target) => target.name === name);
  if (found === undefined) throw new Error(`${module} has no target ${name}`);
  return found;
}
