import type { AdoptionFacts, PairState } from './facts.ts';
import { isUsable } from './facts.ts';
import type { KubeconfigFacts } from './kubeconfig-facts.ts';
import type { Obstacle, PlanPart, Step } from './plan.ts';
import { refuse } from './plan.ts';

/** Plans a kubeconfig of the kubelet that names the `-current.pem` link for certificate and key. */
export function planKubeconfig({ client, kubeconfig, now, canBootstrap }: AdoptionFacts): PlanPart {
  switch (kubeconfig.kind) {
    case 'missing':
      // The agent writes it after its bootstrap; checkReadiness() requires a way to bootstrap.
      return {};
    case 'invalid': {
      const { message, remedy = `Correct ${kubeconfig.file}` } = kubeconfig.failure;
      return refuse({ id: 'kubeconfig-invalid', what: message, remedy });
    }
    case 'read':
      if (client === undefined || kubeconfig.follows) {
        return { steps: moveAuthority(kubeconfig), obstacles: checkLoads(kubeconfig, client) };
      }
      // When the agent bootstraps, it rewrites the file.
      return !isUsable(client, now) && canBootstrap ? {} : rewrite(kubeconfig, client);
    default:
      return kubeconfig satisfies never;
  }
}

type ReadKubeconfig = Extract<KubeconfigFacts, { kind: 'read' }>;

/**
 * Refuses a kubeconfig that the agent cannot load, because the agent could not renew any
 * certificate.
 */
function checkLoads(
  { failure }: ReadKubeconfig,
  client: PairState | undefined,
): readonly Obstacle[] {
  // checkReadiness() reports a missing key pair.
  if (failure === undefined || (client !== undefined && client.pair === undefined)) return [];
  const { code, message, remedy = 'Run: nodecertd doctor' } = failure;
  const id = code === 'KUBECONFIG_UNSUPPORTED' ? 'kubeconfig-unsupported' : 'kubeconfig-invalid';
  const why = 'nodecertd cannot use this kubeconfig, so it could not renew any certificate';
  return [{ id, what: message, why, remedy }];
}

function rewrite(kubeconfig: ReadKubeconfig, client: PairState): PlanPart {
  const { file, text, found, hasCertificate, adopted, authority } = kubeconfig;
  if (!hasCertificate) {
    return refuse({
      id: 'kubeconfig-unsupported',
      what: `${file} names no client certificate: the kubelet authenticates in another way`,
      why: 'The kubelet would not use the client certificate that nodecertd keeps',
      remedy: `Remove kubelet-client from the configuration of nodecertd, or put a client certificate of the node into ${file}`,
    });
  }
  if (adopted === undefined) {
    return refuse({
      id: 'kubeconfig-uneditable',
      what: `${file} cannot be edited: it has anchors or tags, or more than one document`,
      remedy: `Rewrite the file in a plain form: kubectl config view --raw --kubeconfig=${file} > ${file}.new && mv ${file}.new ${file}; then run this command again`,
    });
  }
  const what = `client-certificate and client-key name ${client.link}`;
  const why = `${file} ${found}, so a certificate that nodecertd rotates does not reach the kubelet`;
  const names =
    authority === undefined ? '' : `, and certificate-authority names ${authority.file}`;
  return {
    steps: [
      ...authorityStep(authority),
      kubeconfigStep({ file, text, adopted }, { what: `${what}${names}`, why }),
    ],
    obstacles: checkLoads(kubeconfig, client),
  };
}

/** The kubeconfig of a kubelet that has the certificates of nodecertd already, or rotates its own. */
function moveAuthority({ file, text, adopted, authority }: ReadKubeconfig): readonly Step[] {
  if (authority === undefined || adopted === undefined) return [];
  const what = `certificate-authority names ${authority.file}`;
  return [
    ...authorityStep(authority),
    kubeconfigStep({ file, text, adopted }, { what, why: whyExternal }),
  ];
}

const whyExternal = 'The kubelet reads CAs that its kubeconfig embeds only when it starts';

/** Comes before the kubeconfig, which names the file. */
function authorityStep(authority: ReadKubeconfig['authority']): Step[] {
  if (authority === undefined) return [];
  const { file, before, after } = authority;
  const step: Step = {
    id: 'cluster-ca',
    file,
    form: 'text',
    what: 'the CAs that the kubeconfig of the kubelet embeds',
    why: whyExternal,
    ...(before !== undefined && { before }),
    after,
    mode: 0o644,
  };
  return before === after ? [] : [step];
}

function kubeconfigStep(
  { file, text, adopted }: Pick<ReadKubeconfig, 'file' | 'text'> & { readonly adopted: string },
  reason: Pick<Step, 'what' | 'why'>,
): Step {
  return {
    id: 'kubeconfig',
    file,
    form: 'yaml',
    ...reason,
    before: text,
    after: adopted,
    mode: 0o600,
  };
}
