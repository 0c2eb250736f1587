import type { ControlPlaneTrust } from '../../core/control-plane-annotation.ts';
import type { ReportedControlPlane } from './control-planes.ts';
import type { GateReason } from './gate.ts';
import { counted } from './gates/verdict.ts';

/**
 * This node was off until the step `finish` was done on the others: in every earlier step, two nodes have
 * a CA in common.
 */
export function sharesNoAuthority(
  { authorities }: ControlPlaneTrust,
  others: readonly ReportedControlPlane[],
): boolean {
  const reported = others.map(({ report }) => report.authorities).filter((all) => all.length > 0);
  return reported.length > 0 && reported.flat().every((one) => !authorities.includes(one));
}

/**
 * The files that differ between this control-plane node and what the others report.
 * @param repair the remedy for all of them
 */
export function controlPlaneDifferences(
  own: ControlPlaneTrust,
  others: readonly ReportedControlPlane[],
  repair?: string,
): GateReason[] {
  return comparisons.flatMap(({ file, contentOf, remedy }): GateReason[] => {
    const content = contentOf(own);
    const differing = others.flatMap(({ node, report }) => {
      const other = contentOf(report);
      return other === undefined || other === content ? [] : [`${node} (${other})`];
    });
    if (content === undefined || differing.length === 0) return [];
    return [
      {
        state: 'waiting',
        message: `${file} differs between the control-plane nodes: this node has ${content}`,
        remedy: repair ?? remedy,
        objects: differing,
      },
    ];
  });
}

interface Comparison {
  readonly file: string;
  /** Undefined for a node without the file. */
  readonly contentOf: (trust: ControlPlaneTrust) => string | undefined;
  readonly remedy: string;
}

const completeStep = 'Complete the step on each control-plane node: nodecertd ca-rollover plan';

const comparisons: readonly Comparison[] = [
  {
    file: 'ca.crt',
    contentOf: ({ authorities }) => authorities.join(' and ') || 'no CA',
    remedy: completeStep,
  },
  {
    file: 'ca-next.crt',
    contentOf: ({ next = 'no CA' }) => next,
    remedy:
      'Copy ca-next.crt, ca-next.key and ca-bridge.crt from one node to the others, or complete the last step on each',
  },
  {
    file: 'etcd/ca.crt',
    contentOf: ({ etcdAuthorities }) => countText(etcdAuthorities),
    remedy: 'Write the same CAs into it on each control-plane node',
  },
  {
    file: 'etcd/ca-next.crt',
    contentOf: ({ etcdNext = 'no CA' }) => etcdNext,
    remedy: copyNext('etcd/ca-next'),
  },
  {
    file: 'front-proxy-ca.crt',
    contentOf: ({ frontProxyAuthorities }) => countText(frontProxyAuthorities),
    remedy: 'Write the same CAs into it on each control-plane node',
  },
  {
    file: 'front-proxy-ca-next.crt',
    contentOf: ({ frontProxyNext = 'no CA' }) => frontProxyNext,
    remedy: copyNext('front-proxy-ca-next'),
  },
];

function copyNext(name: string): string {
  return `Copy ${name}.crt and ${name}.key from one node to the others, or complete the last step on each`;
}

function countText(count: number | undefined): string | undefined {
  return count === undefined ? undefined : counted(count, 'CA');
}
