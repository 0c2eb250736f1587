import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { day, hour, minute, second } from '../../core/instant.ts';
import { lifetimeStart } from '../../core/schedule.ts';

/** The lifetime of a new certificate: that of the previous one, a duration, or the rest of the CA's. */
export type Lifetime =
  | { readonly kind: 'previous' }
  | { readonly kind: 'duration'; readonly ms: number }
  | { readonly kind: 'authority' };

/** A year has 365 days, as for the certificates of kubeadm. */
const units: Readonly<Record<string, number>> = { y: 365 * day, d: day, h: hour, m: minute };
const shortest = 10 * minute;

/** `10y`, `90d`, `8760h`, `30m`, or `ca`. @throws AgentError USAGE */
export function parseLifetime(text: string): Lifetime {
  if (text === 'ca') return { kind: 'authority' };
  const [, count, unit] = /^(\d{1,7})([ydhm])$/.exec(text) ?? [];
  const ms = Number(count) * (units[unit ?? ''] ?? 0);
  if (ms >= shortest) return { kind: 'duration', ms };
  throw new AgentError(
    'USAGE',
    `--lifetime must be a duration of at least 10m or ca, found ${JSON.stringify(text)}`,
    {
      remedy:
        'Pass a duration such as 10y, 365d or 8760h, or ca for the rest of the lifetime of the CA',
    },
  );
}

export interface Validity {
  readonly notBefore: Instant;
  readonly notAfter: Instant;
  /** The requested end, if the CA expires before it. */
  readonly wanted?: Instant;
}

type Period = Pick<Validity, 'notBefore' | 'notAfter'>;

interface Previous extends Period {
  readonly storedAt: Instant;
  /** The CA that issued the certificate; absent if it is the CA that issues the new one. */
  readonly authority?: Period;
}

/** As client-go's signer and kubeadm do, because clocks differ. */
const backdate = 5 * minute;

/** Never outlives the CA: servers and clients reject a certificate whose CA has expired. */
export function validityOf({
  lifetime,
  previous,
  authority,
  now,
}: {
  readonly lifetime: Lifetime;
  readonly previous: Previous;
  readonly authority: Period;
  readonly now: Instant;
}): Validity {
  const start = Math.floor(now / second) * second;
  const notBefore = Math.max(start - backdate, authority.notBefore);
  const wanted = endOf(lifetime, { previous, authority, start });
  if (wanted <= authority.notAfter) return { notBefore, notAfter: wanted };
  return { notBefore, notAfter: authority.notAfter, wanted };
}

function endOf(
  lifetime: Lifetime,
  times: {
    readonly previous: Previous;
    readonly authority: Period;
    readonly start: Instant;
  },
): Instant {
  switch (lifetime.kind) {
    case 'authority':
      return times.authority.notAfter;
    case 'duration':
      return times.start + lifetime.ms;
    case 'previous':
      return (
        times.start -
        backdate +
        previousLifetime(times.previous, times.previous.authority ?? times.authority)
      );
    default:
      return lifetime satisfies never;
  }
}

/** The lifetime of kubeadm's certificates (constants.go, CertificateValidityPeriod). */
const usual = 365 * day + backdate;

/**
 * Older versions of kubeadm date each renewed certificate back to the beginning of the CA. Such a
 * certificate seems to have a lifetime of several years, and each renewal would extend it. The
 * file shows when it was issued.
 */
function previousLifetime(previous: Omit<Previous, 'authority'>, authority: Period): number {
  const whole = previous.notAfter - previous.notBefore;
  if (previous.notBefore !== authority.notBefore || whole <= usual) return whole;
  return Math.max(previous.notAfter - lifetimeStart(previous) + backdate, usual);
}
