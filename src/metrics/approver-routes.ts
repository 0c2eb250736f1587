import type { ApproverStatus } from '../core/approver-status.ts';
import { approverReadiness } from './approver-health.ts';
import type { ApproverMetrics } from './approver-metrics.ts';
import type { Answer, AskedFor, Route } from './routes.ts';
import { answerWith, plain } from './routes.ts';

/** The sources of a response; each response reads them again. */
export interface ApproverSources {
  readonly metrics: ApproverMetrics;
  readonly status: () => ApproverStatus;
  /** The configured host, accepted as a Host header. */
  readonly host: string;
}

/** Answers a request to an approver. */
export async function answerOfApprover(
  request: AskedFor,
  sources: ApproverSources,
): Promise<Answer> {
  return answerWith(request, { routes, sources, hosts: [sources.host] });
}

const routes: ReadonlyMap<string, Route<ApproverSources>> = new Map<string, Route<ApproverSources>>(
  [
    [
      '/metrics',
      async ({ metrics }) => ({
        code: 200,
        type: metrics.contentType,
        body: await metrics.render(),
      }),
    ],
    // The process answers, so its event loop runs.
    ['/healthz', () => plain(200, 'ok\n')],
    [
      '/readyz',
      ({ status }) => {
        const { healthy, text } = approverReadiness(status());
        return plain(healthy ? 200 : 503, text);
      },
    ],
  ],
);
