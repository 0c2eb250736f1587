import { X509Certificate } from 'node:crypto';
import * as v from 'valibot';
import { usages as certificateUsages } from '../../src/core/certificate.ts';
import { describeError } from '../../src/core/errors.ts';
import { parsePem } from '../../src/core/pem.ts';
import type { CertificateRequest } from '../../src/core/x509.ts';
import { parseCertificateRequest } from '../../src/core/x509.ts';
import type { CsrObject } from './api-object.ts';
import { csrResource } from './api-object.ts';
import { metadataSchema, parseBody } from './object-meta.ts';
import type { StatusCause } from './status-error.ts';
import { StatusError } from './status-error.ts';

const conditionSchema = v.object({
  type: v.optional(v.string(), ''),
  status: v.optional(v.string(), ''),
  reason: v.exactOptional(v.string()),
  message: v.exactOptional(v.string()),
  lastUpdateTime: v.nullish(v.string()),
  lastTransitionTime: v.nullish(v.string()),
});

const bodySchema = v.object({
  metadata: metadataSchema,
  spec: v.optional(
    v.object({
      request: v.optional(v.pipe(v.string(), v.base64()), ''),
      signerName: v.optional(v.string(), ''),
      expirationSeconds: v.nullish(v.pipe(v.number(), v.integer())),
      usages: v.optional(v.nullable(v.array(v.string())), null),
    }),
    {},
  ),
  status: v.optional(
    v.object({
      conditions: v.nullish(v.array(conditionSchema)),
      certificate: v.nullish(v.pipe(v.string(), v.base64())),
    }),
    {},
  ),
});

/** A CertificateSigningRequest from a client, without the fields that only the server sets. */
export type CsrBody = v.InferOutput<typeof bodySchema>;

/** @throws StatusError BadRequest if a field has the wrong type */
export function parseCsrBody(body: unknown): CsrBody {
  return parseBody(bodySchema, body, csrResource);
}

/** Parses the request of a new CSR. @throws StatusError Invalid, with every invalid field */
export async function validateNewCsr(name: string, body: CsrBody): Promise<CertificateRequest> {
  const { expirationSeconds, signerName } = body.spec;
  const request = await decodeRequest(body.spec.request);
  const causes = [
    ...('problem' in request ? [invalid('spec.request', request.problem)] : []),
    ...usageCauses(body.spec.usages ?? []),
    ...signerNameCauses(signerName),
    ...(typeof expirationSeconds === 'number' && expirationSeconds < 600
      ? [
          invalid(
            'spec.expirationSeconds',
            `Invalid value: ${expirationSeconds}: may not specify a duration less than 600 seconds (10 minutes)`,
          ),
        ]
      : []),
  ];
  if (causes.length > 0 || 'problem' in request) throw invalidError(name, causes);
  return request;
}

/** Parses the request of a stored CSR, which was validated when it was created. */
export async function requestOf(csr: CsrObject): Promise<CertificateRequest> {
  const request = await decodeRequest(csr.spec.request);
  if ('problem' in request)
    throw invalidError(csr.metadata.name, [invalid('spec.request', request.problem)]);
  return request;
}

export function invalid(field: string, message: string): StatusCause {
  return { reason: 'FieldValueInvalid', message, field };
}

export function required(field: string): StatusCause {
  return { reason: 'FieldValueRequired', message: 'Required value', field };
}

export function forbidden(field: string, message: string): StatusCause {
  return { reason: 'FieldValueForbidden', message: `Forbidden: ${message}`, field };
}

export function invalidError(name: string, causes: readonly StatusCause[]): StatusError {
  const { kind, group } = csrResource;
  const list = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const text = list.length === 1 ? list[0] : `[${list.join(', ')}]`;
  return new StatusError(
    'Invalid',
    `${kind}.${group} ${JSON.stringify(name)} is invalid: ${text}`,
    {
      name,
      group,
      kind,
      causes,
    },
  );
}

async function decodeRequest(base64: string): Promise<CertificateRequest | { problem: string }> {
  try {
    const [block] = parsePem(Buffer.from(base64, 'base64'));
    if (block?.label !== 'CERTIFICATE REQUEST') {
      return { problem: 'Invalid value: PEM block type must be CERTIFICATE REQUEST' };
    }
    const request = await parseCertificateRequest(block.der);
    return request.signedByItsKey
      ? request
      : { problem: 'Invalid value: the request is not signed by its own key' };
  } catch (error) {
    return { problem: `Invalid value: ${describeError(error)}` };
  }
}

/** The problems of an issued certificate, which is PEM in base64. */
export function certificateCauses(base64: string): StatusCause[] {
  try {
    const blocks = parsePem(Buffer.from(base64, 'base64'));
    const foreign = blocks.find((block) => block.label !== 'CERTIFICATE');
    if (foreign !== undefined) throw new Error(`found a PEM block ${foreign.label}`);
    const certificates = blocks.map((block) => new X509Certificate(block.der));
    if (certificates.length === 0) throw new Error('there is no CERTIFICATE PEM block');
    return [];
  } catch (error) {
    return [invalid('status.certificate', `Invalid value: ${describeError(error)}`)];
  }
}

/** Usages that the API accepts and that our certificates cannot have. */
const knownUsages: ReadonlySet<string> = new Set([
  ...certificateUsages,
  'signing',
  's/mime',
  'microsoft sgc',
  'netscape sgc',
]);

function usageCauses(usages: readonly string[]): StatusCause[] {
  if (usages.length === 0) return [required('spec.usages')];
  return usages.flatMap((usage, index) => {
    const field = `spec.usages[${index}]`;
    if (!knownUsages.has(usage))
      return [invalid(field, `Unsupported value: ${JSON.stringify(usage)}`)];
    return usages.indexOf(usage) < index
      ? [invalid(field, `Duplicate value: ${JSON.stringify(usage)}`)]
      : [];
  });
}

const label = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const signerNameForm = new RegExp(`^${label}(\\.${label})+/${label}(\\.${label})*$`);

/** A domain with a dot, a slash and a path of DNS labels. */
function signerNameCauses(signerName: string): StatusCause[] {
  if (signerName === '') return [required('spec.signerName')];
  if (signerName === 'kubernetes.io/legacy-unknown') {
    return [
      invalid(
        'spec.signerName',
        'Invalid value: the legacy signerName is not allowed via this API version',
      ),
    ];
  }
  return signerNameForm.test(signerName)
    ? []
    : [
        invalid(
          'spec.signerName',
          `Invalid value: ${JSON.stringify(signerName)}: must be a fully qualified domain and path of the form 'example.com/signer-name'`,
        ),
      ];
}
