import { kubeadmCertificates } from '../layout.ts';
import { restartFor } from './renewal-advice.ts';
import type { RenewalItem } from './renewal-item.ts';
import type { ComponentRestart, RestartEnvironment } from './restart.ts';
import { requireRestartable, restartComponent } from './restart.ts';

export interface RestartedComponent {
  readonly component: string;
  /** Milliseconds until it was healthy. */
  readonly tookMs: number;
}

/** The components that a renewal may restart, by name. */
export type Restarts = ReadonlyMap<string, ComponentRestart>;

/** The restart that the new certificate needs, if nodecertd can do it. */
export function restartOfItem(item: RenewalItem, restarts: Restarts): ComponentRestart | undefined {
  const needed = restartFor(item);
  return needed && restarts.get(needed.component);
}

/** The component that reads the certificate of kubeadm with this name only when it starts. */
export function componentToRestart(name: string): string | undefined {
  const { usedBy = [] } = kubeadmCertificates.find((known) => known.name === name) ?? {};
  return usedBy.find(({ reload }) => reload === 'restart')?.component;
}

/** Restarts the components that read a renewed certificate only when they start. */
export class Restarter {
  readonly #restarts: Restarts;
  readonly #environment: RestartEnvironment;

  constructor(restarts: Restarts, environment: RestartEnvironment) {
    this.#restarts = restarts;
    this.#environment = environment;
  }

  /** @throws AgentError COMPONENT_RESTART, before anything is written */
  async requirePossible(items: readonly RenewalItem[]): Promise<void> {
    for (const item of items) {
      const restart = restartOfItem(item, this.#restarts);
      if (restart !== undefined) await requireRestartable(restart, this.#environment);
    }
  }

  /** For certificates of which only the names are known. @throws AgentError COMPONENT_RESTART */
  async requirePossibleFor(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const restart = this.#restartFor(name);
      if (restart !== undefined) await requireRestartable(restart, this.#environment);
    }
  }

  /** @throws AgentError COMPONENT_RESTART, ABORTED */
  async restartUser(item: RenewalItem): Promise<RestartedComponent | undefined> {
    return this.#restart(restartOfItem(item, this.#restarts));
  }

  /** For a certificate of which only the name is known. @throws AgentError COMPONENT_RESTART, ABORTED */
  async restartUserOf(name: string): Promise<RestartedComponent | undefined> {
    return this.#restart(this.#restartFor(name));
  }

  #restartFor(name: string): ComponentRestart | undefined {
    const component = componentToRestart(name);
    return component === undefined ? undefined : this.#restarts.get(component);
  }

  async #restart(restart: ComponentRestart | undefined): Promise<RestartedComponent | undefined> {
    if (restart === undefined) return undefined;
    const tookMs = await restartComponent(restart, this.#environment);
    return { component: restart.component, tookMs };
  }
}
