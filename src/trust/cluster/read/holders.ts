import * as v from 'valibot';
import { base64 } from '../../../kube/csr-object.ts';
import { listPages } from '../../../kube/list-pages.ts';
import type { CaHolder, CaHolderKind } from '../state.ts';
import type { BundleReader } from './published.ts';

interface Collection {
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly limit: number;
  readonly schema: v.GenericSchema<unknown, readonly Held[]>;
}

/** One bundle of an object. */
interface Held {
  readonly name: string;
  readonly pem: Uint8Array;
}

/** @throws AgentError as KubeClient.request */
export async function readHolders(
  kind: CaHolderKind,
  { client, signal, bundles }: BundleReader,
): Promise<CaHolder[]> {
  const holders: CaHolder[] = [];
  for await (const { items } of listPages({ client: () => client, signal, ...collections[kind] })) {
    for (const { name, pem } of items.flat()) {
      const { authorities } = bundles.in(Buffer.from(pem).toString('latin1'));
      if (authorities.length > 0) holders.push({ name, authorities });
    }
  }
  return holders;
}

const metadata = v.object({ name: v.string(), namespace: v.nullish(v.string()) });
const caBundle = v.nullish(base64);
const clientConfig = v.nullish(v.object({ caBundle }));

function held(name: string, pem: Uint8Array | null | undefined): Held[] {
  return pem === undefined || pem === null ? [] : [{ name, pem }];
}

/** Each webhook of a configuration has a bundle of its own. */
const webhooks = v.pipe(
  v.object({
    metadata,
    webhooks: v.nullish(v.array(v.object({ name: v.string(), clientConfig })), []),
  }),
  v.transform((object) =>
    object.webhooks.flatMap((webhook) =>
      held(`${object.metadata.name}/${webhook.name}`, webhook.clientConfig?.caBundle),
    ),
  ),
);

const apiService = v.pipe(
  v.object({ metadata, spec: v.nullish(v.object({ caBundle })) }),
  v.transform((object) => held(object.metadata.name, object.spec?.caBundle)),
);

const customResource = v.pipe(
  v.object({
    metadata,
    spec: v.object({
      conversion: v.nullish(v.object({ webhook: v.nullish(v.object({ clientConfig })) })),
    }),
  }),
  v.transform(({ metadata: { name }, spec }) =>
    held(name, spec.conversion?.webhook?.clientConfig?.caBundle),
  ),
);

const tokenSecret = v.pipe(
  v.object({ metadata, data: v.nullish(v.object({ 'ca.crt': v.nullish(base64) })) }),
  v.transform((object) =>
    held(`${object.metadata.namespace}/${object.metadata.name}`, object.data?.['ca.crt']),
  ),
);

const admission = '/apis/admissionregistration.k8s.io/v1';

const collections: Readonly<Record<CaHolderKind, Collection>> = {
  ValidatingWebhookConfiguration: {
    path: `${admission}/validatingwebhookconfigurations`,
    limit: 50,
    schema: webhooks,
  },
  MutatingWebhookConfiguration: {
    path: `${admission}/mutatingwebhookconfigurations`,
    limit: 50,
    schema: webhooks,
  },
  APIService: {
    path: '/apis/apiregistration.k8s.io/v1/apiservices',
    limit: 100,
    schema: apiService,
  },
  // The schema of one CustomResourceDefinition may have a megabyte.
  CustomResourceDefinition: {
    path: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
    limit: 10,
    schema: customResource,
  },
  Secret: {
    path: '/api/v1/secrets',
    query: { fieldSelector: 'type=kubernetes.io/service-account-token' },
    limit: 200,
    schema: tokenSecret,
  },
};
