import * as v from 'valibot';
import type { KeyPath } from '../../kube/yaml-edit.ts';
import { editYaml } from '../../kube/yaml-edit.ts';
import { parseDocuments } from './yaml-documents.ts';

const words = v.nullish(v.array(v.string()), []);
const containersSchema = v.nullish(
  v.array(v.object({ name: v.string(), command: words, args: words })),
  [],
);
const podSchema = v.object({
  spec: v.object({ containers: containersSchema, initContainers: containersSchema }),
});

/**
 * The manifest of a static pod with other values of flags, and every other byte as before.
 * @param container the name of the container that has the flags
 * @returns undefined if a flag is not in the form `--name=value`, or the YAML cannot be edited
 */
export function withFlags(
  text: string,
  container: string,
  flags: Readonly<Record<string, string>>,
): string | undefined {
  const pod = v.safeParse(podSchema, parseDocuments(text).first);
  if (!pod.success) return undefined;
  const found = wordsOf(pod.output, container);
  const edits = Object.entries(flags).map(([name, value]) => {
    // The last occurrence of a flag takes effect.
    const at = found.findLast(({ word }) => word.startsWith(`--${name}=`))?.at;
    return at && { path: at, value: `--${name}=${value}` };
  });
  const complete = edits.filter((edit) => edit !== undefined);
  return complete.length === edits.length ? editYaml(text, complete) : undefined;
}

interface Word {
  readonly word: string;
  readonly at: KeyPath;
}

/** The command line of a container, with the place of each word. */
function wordsOf({ spec }: v.InferOutput<typeof podSchema>, container: string): Word[] {
  return (['containers', 'initContainers'] as const).flatMap((list) =>
    (spec[list] ?? []).flatMap(({ name, ...lines }, index) =>
      name !== container
        ? []
        : (['command', 'args'] as const).flatMap((key) =>
            (lines[key] ?? []).map((word, at) => ({ word, at: ['spec', list, index, key, at] })),
          ),
    ),
  );
}
