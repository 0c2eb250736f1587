import { resolve } from 'node:path';
import type { KeyAlgorithm } from '../core/certificate-spec.ts';
import type { Selection } from '../pki/renewal/renewal-plan.ts';
import type { RenewalRequest } from '../pki/renewal/renewal.ts';
import type { ExportOptions, PlannedRequest } from '../pki/renewal/request-export.ts';
import { exportRequests, previewExport } from '../pki/renewal/request-export.ts';
import { isConfirmed } from './confirmation.ts';
import type { CliContext } from './context.ts';
import type { CsrReport } from './csr-report.ts';
import { csrDocument, csrExitCode, csrTable } from './csr-report.ts';
import { exitCodes as codes } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { print } from './print.ts';

export interface CsrOptions {
  readonly csrOut: string;
  readonly output: OutputFormat;
  readonly key?: KeyAlgorithm;
  readonly dryRun?: true;
  readonly yes?: true;
}

/** `nodecertd certs renew --csr-out`: CSRs for the owner of an external CA. */
export async function exportCsrs(
  selection: Selection,
  request: RenewalRequest,
  { options, context }: { readonly options: CsrOptions; readonly context: CliContext },
): Promise<number> {
  const { environment, stdout } = context;
  const { output, key, dryRun = false, yes = false } = options;
  const wanted: ExportOptions = {
    selection,
    hostName: environment.hostName,
    folder: resolve(environment.workingDirectory, options.csrOut),
    ...(key !== undefined && { key }),
  };
  const show = async (report: CsrReport): Promise<number> => {
    stdout.write(await print(output, csrDocument(report), () => csrTable(report)));
    return csrExitCode(report);
  };
  const isNamed = typeof selection !== 'string';
  const planned = { requests: await previewExport(request, wanted), isNamed, isDone: false };
  if (dryRun || !planned.requests.some(({ kind }) => kind === 'request')) return show(planned);
  if (planned.requests.some(replacesKey)) {
    if (output === 'table' && !yes) stdout.write(csrTable(planned));
    const question = 'Replace pending keys? Certificates for their CSRs cannot be imported then.';
    if (!(await isConfirmed(question, { yes, context }))) return codes.error;
  }
  return show({ requests: await exportRequests(request, wanted), isNamed, isDone: true });
}

function replacesKey(planned: PlannedRequest): boolean {
  return planned.kind === 'request' && planned.key.source === 'replaced';
}
