import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { changeOf } from '../../../src/pki/renewal/planned-file.ts';
import { readContent } from '../../../src/store/file-content.ts';
import type { NewChange } from '../../../src/store/run-folder.ts';
import { runStep } from '../../../src/trust/control-plane/task-run.ts';
import type { StepEnvironment, StepResult } from '../../../src/trust/control-plane/task-run.ts';
import type { FileTask, StepTask } from '../../../src/trust/control-plane/task.ts';
import { Tree } from '../../../src/sys/tree.ts';
import { snapshot } from '../../adopt/snapshot.ts';
import type { FakeNode } from '../../pki/renewal/fake-kubelet.ts';
import { fakeNode, kubeletOf, SteppingClock } from '../../pki/renewal/fake-kubelet.ts';

/** A node with two CA files, and a scheduler that reads one of them only when it starts. */
export interface StepNode extends FakeNode {
  readonly environment: StepEnvironment;
  /** The path of a file of this node. */
  readonly at: (name: string) => string;
  readonly read: (name: string) => Promise<string>;
  readonly write: (name: string, text: string) => Promise<void>;
  /** Owner, mode and content of every file, without the copies of earlier runs. */
  readonly files: () => ReturnType<typeof snapshot>;
  readonly run: (
    tasks: readonly TaskSpec[],
    changed?: Partial<StepEnvironment>,
  ) => Promise<StepResult>;
}

/** A text for each file of a task; undefined if the task removes the file. */
export interface FileTaskSpec extends Pick<FileTask, 'name' | 'restart' | 'check'> {
  readonly texts: Readonly<Record<string, string | undefined>>;
}

export type TaskSpec = FileTaskSpec | Exclude<StepTask, FileTask>;

export async function stepNode(test: TestContext): Promise<StepNode> {
  const node = await fakeNode(test);
  const at = (name: string): string => join(node.directory, name);
  const write = async (name: string, text: string): Promise<void> => {
    await mkdir(dirname(at(name)), { recursive: true });
    await writeFile(at(name), text, { mode: 0o600 });
  };
  await write('ca.crt', 'old');
  await write('scheduler.conf', 'trusts old');
  const environment: StepEnvironment = {
    tree: new Tree('/'),
    directory: at('runs'),
    clock: new SteppingClock(kubeletOf(node), Date.now()),
    copyAttributes: async () => undefined,
    signal: new AbortController().signal,
    proc: node.proc,
    restarts: new Map([[node.restart.component, node.restart]]),
    version: '0.0.0',
    ca: 'kubernetes',
    step: 'trust',
    plan: { kind: 'Plan' },
  };
  return Object.assign(node, {
    at,
    write,
    environment,
    read: async (name: string) => readFile(at(name), 'utf8'),
    files: async () => withoutProcesses(await snapshot(node.directory, '/runs')),
    run: async (specs: readonly TaskSpec[], changed: Partial<StepEnvironment> = {}) => {
      const tasks: StepTask[] = [];
      for (const spec of specs) tasks.push('kind' in spec ? spec : await fileTask(spec, at));
      return runStep(tasks, { ...environment, ...changed });
    },
  });
}

function withoutProcesses(files: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...files].filter(([path]) => !path.startsWith('/proc/')));
}

async function fileTask(
  { texts, ...task }: FileTaskSpec,
  at: (name: string) => string,
): Promise<FileTask> {
  const changes: NewChange[] = [];
  for (const [name, text] of Object.entries(texts)) {
    const path = at(name);
    const before = await readContent(path);
    const bytes = text === undefined ? undefined : new Uint8Array(Buffer.from(text));
    if ((before && Buffer.from(before.bytes).toString()) === text) continue;
    const file = { path, ...(before && { before }) };
    changes.push(bytes === undefined ? file : changeOf(file, bytes, '0600'));
  }
  return {
    ...task,
    kind: 'files',
    files: changes.map(({ path }) => ({ path, content: 'a text' })),
    make: async () => ({ changes, [Symbol.dispose]: () => undefined }),
  };
}
