import { X509Certificate } from 'node:crypto';
import { formatDuration, minute } from '../../../core/instant.ts';
import type { Gate, GateInput, GateReason, ProbedIssuer } from '../gate.ts';
import type { IssuedBy } from '../issued-by.ts';
import { issuerOf } from '../issued-by.ts';
import { isInUse } from '../in-use.ts';
import type { SignerActivity } from '../state.ts';
import { repairCommand } from '../../control-plane/apply-command.ts';
import { counted, gateOf, judged } from './verdict.ts';

/** kube-controller-manager usually signs within a second. A new leader needs up to 20s. */
export const longestSilence = 5 * minute;

/** G5: kube-controller-manager signs with the new CA, and with nothing else. */
export function judgeSigner(input: GateInput): Gate {
  const repair = repairCommand(isInUse('next', input));
  const files = (input.signingFiles ?? []).flatMap((file) => ofSigningFile(file, repair));
  const activities = judged(input.state.signers, 'CertificateSigningRequests', (signers) => [
    ...signers.flatMap((signer) => silence(signer, input)),
    ...signers.flatMap((signer) => otherIssuer(signer, input)),
    ...(isProved(signers, input) ? [] : [unproved]),
  ]);
  return gateOf('G5', [...files, ...activities, ...(input.hiddenControlPlanes ?? [])]);
}

const unproved: GateReason = {
  state: 'waiting',
  message: 'no issued CSR shows which CA kube-controller-manager signs with',
  remedy: 'Request a certificate, on a node: nodecertd renew kubelet-client',
};

/** kube-controller-manager deletes an issued CSR after an hour. */
function isProved(signers: readonly SignerActivity[], { signingFiles = [] }: GateInput): boolean {
  return signers.some(({ newest }) => newest !== undefined) || signingFiles.length > 0;
}

const switchSigner =
  'When G1 to G4 are open, write the new CA and its key into the files of --cluster-signing-cert-file and --cluster-signing-key-file on each control-plane node';

function otherIssuer({ signerName, newest }: SignerActivity, input: GateInput): GateReason[] {
  if (newest === undefined) return [];
  const issuer = issuerOf(new X509Certificate(newest.leaf), input.authorities);
  if (issuer === 'next') return [];
  const ago = formatDuration(input.state.readAt - newest.approvedAt);
  return [
    {
      state: 'waiting',
      message: `the newest certificate of ${signerName} was issued by ${issuerNames[issuer]}: CSR ${newest.csr}, ${ago} ago`,
      remedy:
        issuer === 'old'
          ? `${switchSigner}; if that is done, request a certificate: nodecertd renew`
          : switchSigner,
    },
  ];
}

const issuerNames: Readonly<Record<Exclude<IssuedBy, 'next'>, string>> = {
  old: 'the old CA',
  other: 'another CA',
};

function silence({ signerName, unissued }: SignerActivity, { state }: GateInput): GateReason[] {
  const late = unissued.filter(({ approvedAt }) => state.readAt - approvedAt >= longestSilence);
  const [first] = late;
  if (first === undefined) return [];
  const objects = late.map(({ csr }) => csr);
  return [
    {
      state: 'harmful',
      message: `${signerName} has issued nothing for ${formatDuration(state.readAt - first.approvedAt)}: ${counted(objects.length, 'CSR')} approved and not issued`,
      remedy:
        'Check that kube-controller-manager runs, that a CA in --client-ca-file issued its client certificate, and that --cluster-signing-cert-file has exactly one certificate, which matches its key',
      objects,
    },
  ];
}

function ofSigningFile({ place, issuer }: ProbedIssuer, repair: string): GateReason[] {
  switch (issuer) {
    case 'next':
      return [];
    case 'unreadable':
      return [
        {
          state: 'harmful',
          message: `${place} is not one CA certificate, so nothing is signed with it`,
          remedy: `Write exactly one certificate into it; on a node of kubeadm: ${repair}`,
        },
      ];
    case 'old':
    case 'other':
      return [
        {
          state: 'waiting',
          message: `${place} has ${issuerNames[issuer]}`,
          remedy: switchSigner,
        },
      ];
    default:
      return issuer satisfies never;
  }
}
