import { authorityName } from '../core/trust.ts';
import type { CertificateFacts, PairFacts } from '../core/certificate.ts';
import type { Instant } from '../core/instant.ts';
import { formatDuration, formatInstant } from '../core/instant.ts';
import { clamp } from '../core/clamp.ts';
import { lifetimeStart } from '../core/schedule.ts';
import { describeEndpoint } from '../core/served.ts';
import type { AgentStatus, CertificateStatus, PkiStatus, TrustStatus } from '../core/status.ts';
import { trustRemarks } from '../core/trust-remarks.ts';
import type { TrustReport } from '../core/trust-report.ts';
import { problems } from './health.ts';
import type { Html, HtmlValue } from './html.ts';
import { html } from './html.ts';
import { statusPageStyle } from './status-page-style.ts';

/** For a person with a browser and a port forward. Uses no scripts, loads nothing, and refreshes every 15 s. */
export function statusPage(status: AgentStatus): string {
  const { certificates, nodeName } = status;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta http-equiv="refresh" content="15" />
        <title>${nodeName}: certificates</title>
        <style>
          ${statusPageStyle}
        </style>
      </head>
      <body>
        <header>
          <h1>${nodeName}</h1>
          <p>certificates of this node</p>
          ${verdict(status)}
        </header>
        <main>
          ${certificates.map((certificate) => card(certificate, status.now))}
          ${status.pki && pkiCard(status.pki, status.now)}
          ${status.trustSync && trustCard(status.trustSync, status.now)}
        </main>
        <footer>
          <p>
            nodecertd ${status.version}, pid ${status.pid}, running for
            ${formatDuration(status.now - status.startedAt)}, certificate directory
            <code>${status.certificateDirectory}</code>
          </p>
          <p>
            as of ${moment(status.now)} · <a href="/metrics">metrics</a> ·
            <a href="/readyz">readyz</a> · <a href="/healthz">healthz</a> ·
            <a href="/status">status (JSON)</a>
          </p>
        </footer>
      </body>
    </html> `.text;
}

type Tone = 'good' | 'warn' | 'bad';

function verdict({ certificates }: AgentStatus): Html {
  const usable = certificates.filter((certificate) => certificate.usable).length;
  const tone: Tone = usable === certificates.length && usable > 0 ? 'good' : 'bad';
  return html`<p class="verdict ${tone}">
    <span class="tone">${usable} of ${certificates.length} usable</span>
  </p>`;
}

function toneOf(certificate: CertificateStatus): Tone {
  if (!certificate.usable) return 'bad';
  const isDelayed = certificate.overdue || certificate.attempts > 0;
  return isDelayed || postRotation(certificate).length > 0 ? 'warn' : 'good';
}

/** Failed hooks, and endpoints that do not serve the new certificate yet. */
function postRotation(certificate: CertificateStatus): string[] {
  const { served } = certificate;
  const stale = (served?.endpoints ?? []).filter(({ state }) => state !== 'current');
  return [...failedHooks(certificate), ...stale.map(describeEndpoint)];
}

function failedHooks({ hooks = [] }: Pick<CertificateStatus, 'hooks'>): string[] {
  return hooks.flatMap(({ failure }) => (failure === undefined ? [] : [failure.message]));
}

function card(certificate: CertificateStatus, now: Instant): Html {
  const { name, state, since, current, rotationDeadline } = certificate;
  return html` <article class="${toneOf(certificate)}">
    <div class="head">
      <h2>${name}</h2>
      <span class="state">${state}</span>
      <span class="since">for ${formatDuration(now - since)}</span>
      ${current && timeLeft(current, now)}
    </div>
    ${current && lifetime(current, rotationDeadline, now)} ${problemList(certificate, now)}
    <dl>${facts(certificate, now)}</dl>
  </article>`;
}

/** One card for all control-plane certificates. */
function pkiCard(pki: PkiStatus, now: Instant): Html {
  const { directory, state, since, waitsFor, failure, problems, nextDue, lastSuccess } = pki;
  const reasons = [
    ...(waitsFor === undefined ? [] : [waitsFor]),
    ...(failure === undefined ? [] : [failure.message]),
    ...(failure?.remedy === undefined ? [] : [`remedy: ${failure.remedy}`]),
    ...problems
      .filter(({ reason }) => reason !== failure?.message)
      .map(({ name, reason }) => `${name}: ${reason}`),
    ...failedHooks(pki),
  ];
  const isFine = reasons.length === (waitsFor === undefined ? 0 : 1);
  return html` <article class="${isFine ? 'good' : 'warn'}">
    <div class="head">
      <h2>${directory}</h2>
      <span class="state">${state}</span>
      <span class="since">for ${formatDuration(now - since)}</span>
    </div>
    ${reasons.length === 0 ? undefined : list(reasons)}
    <dl>
      ${rowsOf([
        ['Next renewal', nextDue && html`${nextDue.name}, ${moment(nextDue.time)}`],
        ['Last success', lastSuccess === undefined ? undefined : moment(lastSuccess)],
        ['Next check', pki.nextCheck === undefined ? undefined : moment(pki.nextCheck)],
      ])}
    </dl>
  </article>`;
}

/** One card for the CAs that this node trusts. */
function trustCard(trust: TrustStatus, now: Instant): Html {
  const { state, since, report, nextCheck } = trust;
  const remarks = trustRemarks(trust, now);
  const reasons = remarks.flatMap(({ what, remedy }) => [
    what,
    ...(remedy === undefined ? [] : [`remedy: ${remedy}`]),
  ]);
  return html` <article class="${remarks.some(({ isProblem }) => isProblem) ? 'warn' : 'good'}">
    <div class="head">
      <h2>trusted CAs</h2>
      <span class="state">${state}</span>
      <span class="since">for ${formatDuration(now - since)}</span>
    </div>
    ${reasons.length === 0 ? undefined : list(reasons)}
    <dl>
      ${report && trustFacts(report)}
      ${rowsOf([['Next check', nextCheck === undefined ? undefined : moment(nextCheck)]])}
    </dl>
  </article>`;
}

function trustFacts({ stage, authorities, places }: TrustReport): readonly Html[] {
  const held = authorities.filter(({ isHeld }) => isHeld);
  return rowsOf([
    ['Stage', stage],
    ...held.map((ca) => ['CA', html`${authorityName(ca)}, until ${moment(ca.notAfter)}`] as const),
    ...places
      .filter(({ isKept }) => isKept)
      .map(({ path }) => ['File', html`<code>${path}</code>`] as const),
  ]);
}

function timeLeft({ notAfter }: CertificateFacts, now: Instant): Html {
  return notAfter > now
    ? html`<span class="left">${formatDuration(notAfter - now)} left</span>`
    : html`<span class="left tone">expired ${formatDuration(now - notAfter)} ago</span>`;
}

/** The lifetime as a bar, with the part that has passed, the part that is left, and a mark at the rotation deadline. */
function lifetime(pair: PairFacts, deadline: Instant | undefined, now: Instant): Html {
  const start = lifetimeStart(pair);
  const percent = (instant: Instant): number =>
    Math.round(clamp((instant - start) / Math.max(pair.notAfter - start, 1), 0, 1) * 1e4) / 100;
  const past = percent(now);
  const mark = deadline === undefined ? undefined : { at: percent(deadline), deadline };
  return html` <div class="life">
    ${mark && html`<div class="due" style="width:${mark.at}%"><span>${due(mark.deadline, now)} ▾</span></div>`}
    <div class="bar" role="img" aria-label="${past}% of the lifetime has passed">
      <div class="past${past === 100 ? ' all' : ''}" style="width:${past}%"></div>
      ${mark && html`<div class="mark" style="left:${mark.at}%"></div>`}
    </div>
    <div class="ends"><span>${moment(start)}</span><span>${moment(pair.notAfter)}</span></div>
  </div>`;
}

function due(deadline: Instant, now: Instant): string {
  return deadline > now
    ? `rotation in ${formatDuration(deadline - now)}`
    : `rotation due ${formatDuration(now - deadline)} ago`;
}

/** Usable certificates have problems too: a failing renewal shows here long before the certificate expires. */
function problemList(certificate: CertificateStatus, now: Instant): Html | undefined {
  const reasons = [
    ...(certificate.overdue ? ['the rotation is overdue'] : []),
    ...problems(certificate, now),
    ...postRotation(certificate),
  ];
  if (toneOf(certificate) === 'good' || reasons.length === 0) return undefined;
  return list(reasons);
}

function list(reasons: readonly string[]): Html {
  return html`<ul class="missing">
    ${reasons.map((reason) => html`<li>${reason}</li>`)}
  </ul>`;
}

function facts(certificate: CertificateStatus, now: Instant): readonly Html[] {
  const { current, csr, signerName, path, rotations, lastEvent } = certificate;
  const names = [...(current?.dnsNames ?? []), ...(current?.ipAddresses ?? [])];
  return rowsOf([
    ['Subject', current && subject(current)],
    ['Names', names.length === 0 ? undefined : names.join(', ')],
    ['Serial', current && html`<code>${current.serial}</code>`],
    ['Issuer', current?.issuer],
    ['Signer', signerName],
    ['File', html`<code>${path}</code>`],
    [
      'CSR',
      csr && html`<code>${csr.name}</code>, pending for ${formatDuration(now - csr.createdAt)}`,
    ],
    ['Rotations', `${rotations} since the agent started`],
    ['Last event', lastEvent && `${lastEvent.text}, ${formatDuration(now - lastEvent.at)} ago`],
  ]);
}

/** Leaves out the rows without a value. */
function rowsOf(rows: readonly (readonly [string, HtmlValue])[]): readonly Html[] {
  return rows.flatMap(([term, value]) =>
    value === undefined
      ? []
      : [
          html`<dt>${term}</dt>
            <dd>${value}</dd>`,
        ],
  );
}

function subject({ subject }: CertificateFacts): string {
  return [...subject.organizations.map((name) => `O=${name}`), `CN=${subject.commonName}`].join(
    ', ',
  );
}

/** `2026-11-22 19:05:00 UTC` */
function moment(instant: Instant): Html {
  const text = formatInstant(instant);
  return html`<time datetime="${text}">${text.replace('T', ' ').replace('Z', ' UTC')}</time>`;
}
