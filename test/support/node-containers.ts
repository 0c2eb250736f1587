import { setTimeout as delay } from 'node:timers/promises';
import type { Container } from './nspawn.ts';

/** A container of a static pod on a node, as crictl lists it. */
export interface PodContainer {
  readonly component: string;
  readonly id: string;
  /** The number of earlier containers in the same pod. */
  readonly attempt: number;
  readonly isRunning: boolean;
}

/** The containers of the static pods, also those that have ended. */
export async function podContainers(node: Container): Promise<readonly PodContainer[]> {
  const { containers } = JSON.parse(await node.must('crictl', 'ps', '--all', '-o', 'json')) as {
    readonly containers: readonly {
      readonly id: string;
      readonly state: string;
      readonly metadata: { readonly name: string; readonly attempt?: number };
    }[];
  };
  return containers.map(({ id, state, metadata }) => ({
    component: metadata.name,
    id,
    attempt: metadata.attempt ?? 0,
    isRunning: state === 'CONTAINER_RUNNING',
  }));
}

export async function runningContainers(node: Container): Promise<readonly PodContainer[]> {
  return (await podContainers(node)).filter(({ isRunning }) => isRunning);
}

/** Lists the containers twice a second during some work, and returns all lists. */
export async function watchContainers(
  node: Container,
  work: () => Promise<void>,
): Promise<readonly (readonly PodContainer[])[]> {
  const lists = [await podContainers(node)];
  const stop = new AbortController();
  const loop = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      lists.push(await podContainers(node));
      await delay(500);
    }
  };
  const done = loop();
  try {
    await work();
  } finally {
    stop.abort();
    await done;
  }
  return [...lists, await podContainers(node)];
}
