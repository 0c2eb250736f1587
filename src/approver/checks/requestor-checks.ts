import { nodeOfUser } from '../../core/node-name.ts';
import { kubeletServingSigner } from '../../core/certificate-spec.ts';
import type { Check } from './check.ts';
import { deny, quoted } from './question.ts';

const decidedTypes = new Set(['Approved', 'Denied', 'Failed']);

/** A CSR of another signer, or one that needs no decision, is not touched at all. */
export const pendingCheck: Check = {
  id: '0',
  codes: ['NotPending'],
  passesIf: `the signer is ${kubeletServingSigner}, and the CSR is pending`,
  judge: ({ csr }) => {
    const decided = csr.conditionTypes.find((type) => decidedTypes.has(type));
    const reason =
      csr.signerName !== kubeletServingSigner
        ? `the signer is ${quoted(csr.signerName)}`
        : decided !== undefined
          ? `the CSR has the condition ${decided}`
          : csr.hasCertificate
            ? 'the CSR has a certificate'
            : csr.isDeleting
              ? 'the CSR is being deleted'
              : undefined;
    if (reason === undefined) return undefined;
    const remedy = 'Do nothing; the approver decides pending CSRs of this signer only';
    return { outcome: 'ignore', code: 'NotPending', message: reason, remedy };
  },
  facts: ({ csr }) => [
    { fact: 'signer', value: csr.signerName, source: 'CSR' },
    { fact: 'conditions', value: csr.conditionTypes.join(', ') || 'none', source: 'CSR' },
  ],
};

export const requestorCheck: Check = {
  id: '1.1',
  codes: ['RequestorNotNode'],
  passesIf: 'the requestor is system:node: and the name of a Node',
  judge: ({ csr, policy }) => {
    if (nodeOfUser(csr.username) !== undefined) return undefined;
    return {
      outcome: policy.foreignRequestors,
      code: 'RequestorNotNode',
      message: `the requestor ${quoted(csr.username)} is not a node`,
      remedy: 'Create the CSR with the client certificate of the node',
    };
  },
  facts: ({ csr }) => [{ fact: 'requestor', value: csr.username, source: 'CSR' }],
};

const requiredGroups = ['system:nodes', 'system:authenticated'];

export const groupsCheck: Check = {
  id: '1.2',
  codes: ['GroupsMissing'],
  passesIf: `the requestor is in the groups ${requiredGroups.join(' and ')}`,
  judge: ({ csr }) => {
    const missing = requiredGroups.filter((group) => !csr.groups.includes(group));
    if (missing.length === 0) return undefined;
    return deny(
      'GroupsMissing',
      `the requestor ${quoted(csr.username)} is not in the group ${missing.join(' and ')}`,
      'Check how the API server authenticates the node: its client certificate needs O=system:nodes',
    );
  },
  facts: ({ csr }) => [{ fact: 'groups', value: csr.groups.join(', '), source: 'CSR' }],
};
