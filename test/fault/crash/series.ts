import type { FaultOptions } from '../family.ts';
import type { Bench, Phase, Trial } from './attempt.ts';
import type { Call, Errno, Place } from './injection.ts';
import { Attachment, changingCalls, failures, lookingCalls, places } from './injection.ts';

/** The trials of one row. */
export interface Series {
  readonly fault: string;
  readonly trials: readonly Trial[];
  /** Whether to continue after the last trial until a run is not hit. */
  readonly toTheEnd: boolean;
}

export interface RecordedCall {
  readonly place: Place;
  readonly call: Call;
  readonly count: number;
}

/** Records the calls of a run without faults. */
export async function recordCalls(bench: Bench, phase: Phase): Promise<RecordedCall[]> {
  const recorded: RecordedCall[] = [];
  for (const place of places) {
    await using node = await bench.template[phase === 'bootstrap' ? 'blank' : 'due']();
    const attachment = new Attachment(node, place);
    const { command, env } = bench;
    const agent = node.start({
      ...(command !== undefined && { command }),
      env: { ...env, ...attachment.env },
    });
    await agent.event('certificate_stored');
    await agent.event('enroller_stopped');
    await agent.stop();
    const counts = await attachment.counts();
    for (const call of [...changingCalls, ...lookingCalls]) {
      const count = counts.get(call) ?? 0;
      if (count > 0) recorded.push({ place, call, count });
    }
  }
  requireRecorded(recorded, phase);
  return recorded;
}

/** Without these calls, the tracing is broken and every trial would pass. */
function requireRecorded(recorded: readonly RecordedCall[], phase: Phase): void {
  for (const [role, thread, ...calls] of mustHave) {
    for (const call of calls) {
      const found = recorded.some(
        (entry) =>
          entry.place.role === role && entry.place.thread === thread && entry.call === call,
      );
      if (!found) throw new Error(`the ${role} process did not call ${call} in a ${phase}`);
    }
  }
}

const mustHave = [
  ['run', 'main', 'openat', 'pwrite64'],
  ['run', 'pool', 'openat', 'write', 'fsync', 'rename'],
  ['enroller', 'pool', 'openat', 'write', 'fchmod', 'fsync', 'symlink', 'rename'],
] as const;

export function seriesOf(
  phase: Phase,
  recorded: readonly RecordedCall[],
  { thorough }: FaultOptions,
): Series[] {
  if (!thorough) return [quickSeries(phase, recorded)];
  const changing = recorded.filter(({ call }) => includes(changingCalls, call));
  const kill = 'SIGKILL' as const;
  return [
    {
      fault: `kill -9 of the agent at each call of a ${phase}`,
      trials: changing.flatMap((entry) => trialsOf(phase, entry, { fault: kill, whole: true })),
      toTheEnd: true,
    },
    {
      fault: `kill -9 of the enroller alone at each call of a ${phase}`,
      trials: changing
        .filter(({ place }) => place.role === 'enroller')
        .flatMap((entry) => trialsOf(phase, entry, { fault: kill, whole: false })),
      toTheEnd: false,
    },
    ...(Object.keys(failures) as Errno[]).map((errno) => ({
      fault: `${errno} at each call of a ${phase}`,
      trials: recorded
        .filter(({ place, call }) => includes(failures[errno], call) && matters(place, call))
        .flatMap((entry) => trialsOf(phase, entry, { fault: errno, whole: false })),
      toTheEnd: false,
    })),
  ];
}

/** Skips the many calls with which the keeper only checks files for changes. */
function matters({ role }: Place, call: Call): boolean {
  return role === 'enroller' || call === 'inotify_add_watch' || includes(changingCalls, call);
}

function includes(calls: readonly Call[], call: Call): boolean {
  return calls.includes(call);
}

function trialsOf(
  phase: Phase,
  { place, call, count }: RecordedCall,
  how: { readonly fault: 'SIGKILL' | Errno; readonly whole: boolean },
): Trial[] {
  return Array.from({ length: count }, (_, index) => ({
    phase,
    whole: how.whole,
    injection: { place, call, nth: index + 1, fault: how.fault },
  }));
}

/** The last call of each kind, when the work is half done. */
function quickSeries(phase: Phase, recorded: readonly RecordedCall[]): Series {
  const chosen = phase === 'rotation' ? quickRotation : quickBootstrap;
  const trials = chosen.map(([role, call, fault]): Trial => {
    const found = recorded.find(
      (entry) => entry.place.role === role && entry.place.thread === 'pool' && entry.call === call,
    );
    if (found === undefined) throw new Error(`no process called ${call} in a ${phase}`);
    const { place, count } = found;
    return { phase, whole: true, injection: { place, call, nth: count, fault } };
  });
  return { fault: `kill -9 and errors in a ${phase}`, trials, toTheEnd: false };
}

type Choice = readonly [Place['role'], Call, 'SIGKILL' | Errno];
const quickRotation: readonly Choice[] = [
  ['enroller', 'write', 'SIGKILL'],
  ['enroller', 'symlink', 'SIGKILL'],
  ['enroller', 'rename', 'SIGKILL'],
  ['enroller', 'unlink', 'SIGKILL'],
  ['run', 'rename', 'SIGKILL'],
  ['enroller', 'write', 'ENOSPC'],
  ['enroller', 'rename', 'EACCES'],
];
const quickBootstrap: readonly Choice[] = [
  ['enroller', 'rename', 'SIGKILL'],
  ['enroller', 'write', 'ENOSPC'],
];
