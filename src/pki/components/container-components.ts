import { withoutSecrets } from '../../core/printable.ts';
import type { Component, ComponentName, FileNote } from './component.ts';
import { componentOf, containerCommand } from './component.ts';
import { flagsOf } from './component-flags.ts';
import { expandVariables } from './expansion.ts';
import { nodePath } from './pod-paths.ts';
import type { Container, StaticPod } from './static-pods.ts';

export interface ContainerComponents {
  readonly components: readonly Component[];
  /** The components in shell scripts, whose flags only their processes show. */
  readonly inShells: readonly { readonly name: ComponentName; readonly note: FileNote }[];
}

/** The components that the containers of a static pod start. */
export function containerComponents(pod: StaticPod): ContainerComponents {
  const { containers, initContainers } = pod.spec;
  const sidecars = initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always');
  const all = [...containers, ...sidecars].map((container) => ({
    container,
    component: containerComponent(pod, container),
  }));
  return {
    components: all.flatMap(({ component }) => component ?? []),
    inShells: all.flatMap(({ component, container }) => {
      const name = component === undefined ? programInShell(container) : undefined;
      if (name === undefined) return [];
      const reason = `container ${withoutSecrets(container.name, 80)} starts ${name} in a shell, so its flags cannot be read`;
      return [{ name, note: { path: pod.manifest, reason } }];
    }),
  };
}

function containerComponent(pod: StaticPod, container: Container): Component | undefined {
  const { name: containerName, env } = container;
  const variables = new Map<string, string>();
  // A variable may use the earlier ones. The values of valueFrom are known only to the pod.
  for (const { name, value, valueFrom } of env) {
    if (valueFrom === null || valueFrom === undefined) {
      variables.set(name, expandVariables(value ?? '', variables));
    }
  }
  const words = commandOf(container).map((word) => expandVariables(word, variables));
  const command = containerCommand(words);
  if (command === undefined) return undefined;
  return {
    name: command.name,
    source: { kind: 'static-pod', manifest: pod.manifest, container: containerName },
    flags: flagsOf(command, variables),
    sharesNetwork: pod.spec.hostNetwork,
    hostPath: (path) => nodePath(container, pod.spec.volumes, path),
  };
}

/** Without `command`, the image determines the program. Most images have the name of the program. */
function commandOf({ image, command, args }: Container): readonly string[] {
  if (command.length > 0) return [...command, ...args];
  const program = /([^/:@]+)(?::[^/:@]*)?(?:@.*)?$/.exec(image)?.[1] ?? '';
  const startsItself = containerCommand(args) !== undefined;
  return componentOf(program) === undefined || startsItself ? args : [program, ...args];
}

/** The component in a script such as `exec /usr/local/bin/kube-apiserver --v=2 >> /var/log/x`. */
function programInShell(container: Container): ComponentName | undefined {
  const words = commandOf(container);
  const isShell = words.slice(0, 2).some((word) => /^(?:\/\S*\/)?(?:ba|da|a)?sh$/.test(word));
  if (!isShell) return undefined;
  const parts = words.flatMap((word) => word.split(/[\s;&|()'"]+/));
  return parts.map(componentOf).find((name) => name !== undefined);
}
