import { connect } from 'node:tls';
import { describeError } from '../../src/core/errors.ts';
import { fingerprintOf } from './agent.ts';
import { scaled } from './machine-speed.ts';

export interface Handshake {
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  /** The SHA-256 fingerprint of the shown certificate, as hex digits. */
  readonly fingerprint?: string;
  readonly error?: string;
}

export interface ProberOptions {
  readonly port: number;
  readonly serverName: string;
  readonly caPem: string;
  readonly perSecond: number;
}

const patienceMs = scaled(5_000);

/**
 * Connects to a port of this machine again and again, as a TLS client that verifies the
 * certificate.
 */
export class TlsProber implements Disposable {
  readonly handshakes: Handshake[] = [];
  readonly #options: ProberOptions;
  readonly #timer: NodeJS.Timeout;

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      this.#shakeHands();
    }, 1_000 / options.perSecond);
  }

  get failed(): readonly Handshake[] {
    return this.handshakes.filter(({ error }) => error !== undefined);
  }

  #shakeHands(): void {
    const { port, serverName, caPem } = this.#options;
    const startedAt = Date.now();
    const end = (outcome: Omit<Handshake, 'startedAt'>): void => {
      socket.destroy();
      this.handshakes.push({ startedAt, ...outcome });
    };
    const socket = connect({ host: '127.0.0.1', port, servername: serverName, ca: caPem });
    socket.setTimeout(patienceMs, () => {
      end({ error: `no handshake within ${patienceMs} ms` });
    });
    socket.once('error', (error) => {
      end({ error: describeError(error) });
    });
    socket.once('secureConnect', () => {
      end({ fingerprint: fingerprintOf(socket.getPeerCertificate()) });
    });
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
