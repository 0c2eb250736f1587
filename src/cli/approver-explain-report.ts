import { formatAltName } from '../approver/alt-name.ts';
import { acceptedAltNames } from '../approver/checks/alt-name-rules.ts';
import type { Explanation } from '../approver/explanation.ts';
import { policyDigest } from '../approver/policy-digest.ts';
import { readRequest } from '../approver/request/read-request.ts';
import type { ServingCsr } from '../approver/serving-csr.ts';
import type { ApproverPolicy } from '../core/approver-policy.ts';
import { formatInstant } from '../core/instant.ts';
import { alignColumns, oneLine } from './text.ts';

export interface ExplainedCsr {
  readonly csr: ServingCsr;
  readonly policy: ApproverPolicy;
  readonly explanation: Explanation;
  readonly signer: string | undefined;
}

/** The stable form for `-o json` and `-o yaml`. */
export function explanationDocument(explained: ExplainedCsr): Record<string, unknown> {
  const { csr, policy, explanation, signer } = explained;
  const { decision, checks, overrides } = explanation;
  const { finding } = decision;
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'ApproverExplanation',
    csr: {
      name: csr.name,
      uid: csr.uid,
      resourceVersion: csr.resourceVersion,
      creationTimestamp: formatInstant(csr.createdAt),
      username: csr.username,
      altNames: altNamesOf(csr),
    },
    policy: { digest: policyDigest(policy), mode: policy.mode },
    outcome: decision.outcome,
    reason: decision.code,
    message: decision.message,
    ...(finding && {
      finding: finding.message,
      remedy: finding.remedy,
      ...(finding.until !== undefined && { until: formatInstant(finding.until) }),
    }),
    overrides,
    signer,
    checks,
  };
}

function altNamesOf(csr: ServingCsr): string[] {
  const reading = readRequest(csr.request);
  if (reading.kind === 'rejected') return [];
  return acceptedAltNames(reading.request.altNames).map(formatAltName);
}

/** The outcome, each check, and the facts behind the checks that were reached. */
export function explanationTable(explained: ExplainedCsr): string {
  const { csr, explanation, policy, signer } = explained;
  const { decision, checks, overrides } = explanation;
  const facts = checks.flatMap(({ id, facts }) =>
    facts.map(({ fact, value, source, resourceVersion = '' }) =>
      [id, fact, value, source, resourceVersion].map(oneLine),
    ),
  );
  const blocks = [
    [
      oneLine(`CSR ${csr.name} of ${csr.username}, SANs: ${altNamesOf(csr).join(', ') || 'none'}`),
      `Policy ${policyDigest(policy).slice(0, 12)}, mode ${policy.mode}`,
      ...outcomeLines(explanation),
      ...(signer === undefined ? [] : [`Signer: ${signer}`]),
    ],
    alignColumns([
      ['CHECK', 'STATE', 'CODE', 'PASSES IF'],
      ...checks.map(({ id, state, codes, passesIf }) => [
        id,
        state,
        state === 'failed' ? decision.code : codes.join(', '),
        passesIf,
      ]),
    ]),
    alignColumns([['CHECK', 'FACT', 'VALUE', 'SOURCE', 'RESOURCE VERSION'], ...facts]),
    overrides.length === 0
      ? []
      : [
          'To decide instead of the approver, run:',
          ...overrides.map((line) => `  ${oneLine(line)}`),
        ],
  ];
  const texts = blocks.filter((block) => block.length > 0).map((block) => block.join('\n'));
  return `${texts.join('\n\n')}\n`;
}

function outcomeLines({ decision }: Explanation): string[] {
  const { outcome, code, finding } = decision;
  const head = `Outcome: ${outcome} (${code})`;
  if (finding === undefined) return [head];
  const until = finding.until === undefined ? '' : `, until ${formatInstant(finding.until)}`;
  return [`${head}${until}`, oneLine(`  ${finding.message}`), oneLine(`  → ${finding.remedy}`)];
}
