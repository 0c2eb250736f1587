import { AgentError } from '../../../src/core/errors.ts';
import { second } from '../../../src/core/instant.ts';
import type { Errno } from '../crash/injection.ts';
import type { Call, Recording } from './recording.ts';
import type { Scene } from './scene.ts';
import type { OnPart } from './step.ts';
import { continuation } from './step.ts';
import { countFrom } from './same-calls.ts';
import type { Tracer } from './tracer.ts';
import { attach, settle } from './tracer.ts';

/**
 * Runs the command, and makes one of its calls fail, or kills this process before the call. strace is attached
 * only to the part with this call, because every call is slow while it is attached. The plan comes from the
 * recording if the call is behind it.
 * @returns the code of the error, or `nothing`; undefined if the call was not made
 */
export async function runWithFault(
  scene: Pick<Scene, 'node' | 'output' | 'series' | 'run'>,
  { call, fault }: { readonly call: Call; readonly fault: `error=${Errno}` | 'signal=KILL' },
  { calls, planned }: Pick<Recording, 'calls' | 'planned'>,
): Promise<string | undefined> {
  const { node, output, series } = scene;
  const { thread, name, nth } = call;
  const isBehind = planned !== undefined && call.part >= planned.part;
  let part = isBehind ? planned.part : 0;
  let tracer: Tracer | undefined;
  let log = '';
  const detach = async (): Promise<void> => {
    log += (await tracer?.detach())?.get(thread) ?? '';
    tracer = undefined;
  };
  const reach = async (): Promise<void> => {
    if (part === call.part + 1) await detach();
    if (part !== call.part) return;
    const injection = `-einject=${name}:${fault}:when=${nth}`;
    const filters = pathsOf(call, calls).flatMap((path) => ['-P', path]);
    tracer = await attach({
      to: [thread],
      args: [`-etrace=${name}`, injection, ...filters],
      output,
    });
  };
  const onPart: OnPart = async (tasks) => {
    part += 1;
    if (tasks !== undefined) countFrom(0);
    await reach();
  };
  const go = isBehind
    ? await continuation(node, series, planned.tasks)
    : (on: OnPart) => scene.run(on);
  await reach();
  let code = 'nothing';
  try {
    await go(onPart);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    code = error.code;
  } finally {
    await settle();
    await detach();
  }
  return log.includes('(INJECTED)') ? code : undefined;
}

/** The files of the calls of this name. Empty if the thread has no other calls of this name. */
function pathsOf({ name, thread, part, isAlone }: Call, calls: readonly Call[]): string[] {
  if (isAlone) return [];
  const found = calls.filter(
    (one) => one.name === name && one.thread === thread && one.part === part,
  );
  return namesOf(new Set(found.flatMap(({ paths }) => paths)));
}

/** The folder of a run is named by its time: it exists already, or has one of the next seconds. */
function namesOf(paths: ReadonlySet<string>): string[] {
  const now = Date.now();
  const times = Array.from({ length: 20 }, (_, index) =>
    new Date(now + (index - 15) * second).toISOString().replaceAll(/\.\d+|[-:]/g, ''),
  );
  return [...paths].flatMap((path) => {
    const renamed = times.map((time) => path.replace(/\/\d{8}T\d{6}Z-/, `/${time}-`));
    return [...new Set([path, ...renamed])];
  });
}
