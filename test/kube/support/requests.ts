import assert from 'node:assert/strict';
import * as v from 'valibot';
import { AgentError, describeError } from '../../../src/core/errors.ts';
import type { KubeClient } from '../../../src/kube/rest-client.ts';

const anything = v.unknown();
export const never = new AbortController().signal;

export function get(client: KubeClient, path = '/thing', signal = never): Promise<unknown> {
  return client.request({ verb: 'get', path, signal }, anything);
}

export async function failureOf(promise: Promise<unknown>): Promise<AgentError> {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof AgentError, describeError(error));
    return error;
  }
  throw new assert.AssertionError({ message: 'nothing was thrown' });
}
