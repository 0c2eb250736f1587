import { ApproverPlane } from '../support/approver-plane.ts';
import { csrPath, newCsr } from '../support/real-csr.ts';
import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';
import { Random } from './fuzz/random.ts';
import type { Owner } from './fuzz/request-changes.ts';
import type { Candidate } from './signer/candidates.ts';
import { candidatesFor } from './signer/candidates.ts';
import type { ApprovedFacts } from './signer/comparison.ts';
import {
  addressesOf,
  certificateDifference,
  judged,
  requestDifference,
} from './signer/comparison.ts';
import { SignerJudge } from './signer/signer-judge.ts';

/** The nodes whose CSRs are pending at the same time. */
const nodeCount = 8;

/**
 * Thousands of valid and damaged requests, read by the policy and by the signer's own Go code.
 * The policy must not approve what Go rejects or reads in another way. Then the real API server,
 * approver and kube-controller-manager get every request that the policy approves, and each
 * certificate has to contain what was approved. NODECERTD_FUZZ_SEED repeats the changes.
 */
export const signer: FaultFamily = {
  name: 'signer',
  needs: ['control-plane', 'go-programs'],
  async *run(options) {
    const { thorough, progress } = options;
    const seed = Number(
      process.env['NODECERTD_FUZZ_SEED'] ?? (thorough ? Date.now() % 2 ** 31 : 1),
    );
    progress(`seed ${seed}`);
    await using judge = new SignerJudge();
    const approved: Approved[] = [];
    yield await compareWithGo({ options, seed, judge, approved });
    yield await issueAll({ options, judge, approved });
  },
};

interface Approved {
  readonly candidate: Candidate;
  readonly facts: ApprovedFacts;
}

const owners: readonly Owner[] = Array.from({ length: nodeCount }, (_, lane) => ({
  node: `node-${lane}`,
  address: `10.100.7.${lane + 1}`,
}));

async function compareWithGo({
  options: { thorough, signal },
  seed,
  judge,
  approved,
}: {
  readonly options: FaultOptions;
  readonly seed: number;
  readonly judge: SignerJudge;
  readonly approved: Approved[];
}): Promise<FaultRow> {
  const count = thorough ? 20_000 : 600;
  const candidateAt = candidatesFor(owners);
  const seen = new Map<string, number>();
  for (let index = 0; index < count; index += 1) {
    signal.throwIfAborted();
    const candidate = candidateAt(new Random(seed, index), index);
    const { decision, facts } = judged(candidate);
    const answer = await judge.request(candidate.request, candidate.usages);
    if (facts !== undefined) {
      const problem =
        answer.error ??
        requestDifference(facts, answer.read) ??
        (answer.issued && certificateDifference(facts, answer.issued));
      if (problem !== undefined) throw complaint(`input ${index}: ${problem}`, candidate);
      approved.push({ candidate, facts });
    }
    const kind = `${decision}, Go ${answer.error === undefined ? 'issues' : 'rejects'}`;
    seen.set(kind, (seen.get(kind) ?? 0) + 1);
  }
  return {
    fault: 'signer: requests read by the policy and by Go',
    tried: count,
    lost: 0,
    seen: [...seen].toSorted((a, b) => b[1] - a[1]).map(([kind, times]) => `${kind} ×${times}`),
  };
}

/** With the input, because the keys of a candidate are new in each run. */
function complaint(problem: string, { request, usages, owner }: Candidate): Error {
  const input = JSON.stringify({
    request: Buffer.from(request).toString('base64'),
    usages,
    ...owner,
  });
  return new Error(`the policy approves a request, and ${problem}\n${input}`);
}

async function issueAll({
  options: { signal, progress },
  judge,
  approved,
}: {
  readonly options: FaultOptions;
  readonly judge: SignerJudge;
  readonly approved: readonly Approved[];
}): Promise<FaultRow> {
  await using cluster = await ApproverPlane.start();
  for (const owner of owners) await cluster.setNode(owner.node, addressesOf(owner));
  await using approver = cluster.startApprover();
  progress(`${approved.length} requests for the real signer`);
  await Promise.all(
    owners.map(async ({ node }) => {
      // One at a time, because a newer CSR of the node supersedes an older one.
      for (const [index, one] of approved.entries()) {
        signal.throwIfAborted();
        if (one.candidate.owner.node === node) await issue(cluster, judge, { ...one, index });
      }
    }),
  );
  return {
    fault: 'signer: approved requests issued by kube-controller-manager',
    tried: approved.length,
    lost: 0,
    seen: [`csr_decided ×${approver.logged('csr_decided').length}`],
  };
}

/** @throws Error if the real components refuse the request, or issue another certificate */
async function issue(
  cluster: ApproverPlane,
  judge: SignerJudge,
  { candidate, facts, index }: Approved & { readonly index: number },
): Promise<void> {
  const name = `candidate-${index}`;
  const { owner, request, usages } = candidate;
  try {
    await cluster.nodeClient(owner.node).must({
      method: 'POST',
      path: csrPath(),
      body: newCsr({ name, request, usages }),
    });
    const certificate = await cluster.until(`a certificate for ${name}`, async () => {
      const { conditions = [], certificate: issued } = (await cluster.csr(name)).status;
      const denied = conditions.find(({ type }) => type !== 'Approved');
      if (denied !== undefined) throw new Error(`it was ${denied.type}: ${denied.message}`);
      return issued;
    });
    const answer = await judge.certificate(certificate);
    const problem = answer.error ?? certificateDifference(facts, answer.read);
    if (problem !== undefined) throw new Error(problem);
  } catch (error) {
    throw complaint(error instanceof Error ? error.message : String(error), candidate);
  }
}
