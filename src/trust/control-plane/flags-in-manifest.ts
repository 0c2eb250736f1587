import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { withFlags } from '../../pki/components/manifest-flags.ts';
import { plannedFile } from '../../pki/renewal/planned-file.ts';
import { withAnnotation } from '../../pki/renewal/restart.ts';
import type { StaticPod } from './managed-component.ts';
import type { RolloverNode } from './node-files.ts';
import type { Replacement } from './replacement.ts';
import { replacement } from './replacement.ts';
import type { ChangedFlags, FlagPaths } from './step-flags.ts';
import { changedFlags, flagWords } from './step-flags.ts';

/**
 * The manifest of a component with these flags. The change restarts it, and is marked like any other
 * restart.
 * @throws AgentError CONFIG_INVALID if a flag or the manifest cannot be changed
 */
export async function flagsInManifest(
  node: RolloverNode,
  component: StaticPod,
  { wanted, now }: { readonly wanted: FlagPaths; readonly now: Instant },
): Promise<Replacement> {
  const { manifest, container } = component.source;
  const changed = changedFlags(node, component, wanted);
  const edited = (before: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> => {
    const text = withFlags(Buffer.from(before).toString(), container, Object.fromEntries(changed));
    const result = text && withAnnotation(text, new Date(now).toISOString());
    if (result === undefined) throw uneditable(manifest, changed);
    return new Uint8Array(Buffer.from(result));
  };
  // Fails before the first file of the step is written.
  if (changed.length > 0) edited((await plannedFile(node.tree, manifest)).before?.bytes);
  return replacement({
    tree: node.tree,
    path: manifest,
    content: flagWords(changed).join(' '),
    mode: '0600',
    isDone: changed.length === 0,
    bytes: async (before) => edited(before),
  });
}

function uneditable(manifest: string, flags: ChangedFlags): AgentError {
  const wanted = flagWords(flags).join(' ');
  return new AgentError('CONFIG_INVALID', `the flags in ${manifest} cannot be changed`, {
    remedy: `Write each of these flags and its value as one entry of the command: ${wanted}`,
  });
}
