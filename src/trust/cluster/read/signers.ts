import { parsePem } from '../../../core/pem.ts';
import type { ListedCsr } from '../../../kube/csr-list.ts';
import { csrPages } from '../../../kube/csr-list.ts';
import { verdictOf } from '../../../kube/csr-object.ts';
import type { SignerActivity } from '../state.ts';
import type { ClusterReader } from './reading.ts';

/** The signers of kube-controller-manager that use the CA of the cluster. */
const managedSigners = [
  'kubernetes.io/kube-apiserver-client-kubelet',
  'kubernetes.io/kubelet-serving',
  'kubernetes.io/kube-apiserver-client',
  'kubernetes.io/legacy-unknown',
] as const;

const mostUnissued = 20;

/** @throws AgentError as KubeClient.request */
export async function readSigners(reader: ClusterReader): Promise<SignerActivity[]> {
  const records = new Map(managedSigners.map((name) => [name as string, new SignerRecord(name)]));
  for await (const { items } of csrPages(reader)) {
    for (const csr of items) records.get(csr.signerName)?.add(csr);
  }
  return [...records.values()].map((record) => record.activity());
}

/** What the CSRs of one signer show. */
class SignerRecord {
  readonly #name: string;
  #newest: ListedCsr | undefined;
  readonly #unissued: { readonly csr: string; readonly approvedAt: number }[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  add(csr: ListedCsr): void {
    const verdict = verdictOf(csr.status);
    if (verdict.kind === 'issued') {
      if (this.#newest === undefined || approvalOf(csr) > approvalOf(this.#newest))
        this.#newest = csr;
    } else if (verdict.kind === 'pending' && verdict.approved) {
      this.#unissued.push({ csr: csr.name, approvedAt: approvalOf(csr) });
    }
  }

  activity(): SignerActivity {
    const leaf = this.#newest && leafOf(this.#newest);
    const oldest = this.#unissued.toSorted((a, b) => a.approvedAt - b.approvedAt);
    return {
      signerName: this.#name,
      ...(this.#newest !== undefined &&
        leaf !== undefined && {
          newest: { csr: this.#newest.name, approvedAt: approvalOf(this.#newest), leaf },
        }),
      unissued: oldest.slice(0, mostUnissued),
    };
  }
}

/** A CSR may be pending for days, and is signed as soon as it is approved. */
function approvalOf({ decidedAt, createdAt }: ListedCsr): number {
  return decidedAt ?? createdAt;
}

function leafOf({ status: { certificate } }: ListedCsr): Uint8Array<ArrayBuffer> | undefined {
  return parsePem(certificate ?? new Uint8Array())[0]?.der;
}
