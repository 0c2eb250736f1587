import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect } from 'node:tls';

const program = join(import.meta.dirname, 'tls-server.process.ts');

/** A running tls-server.process.ts. */
export class TlsServer implements AsyncDisposable {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  /** @param file the pair, which need not exist yet */
  static async start(file: string): Promise<TlsServer> {
    const child = spawn(process.execPath, [program, file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const kill = (): void => void child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.off('exit', kill));
    if (child.stdout === null) throw new Error('the server has no standard output');
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    return new TlsServer(child, Number(line));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  reload(): void {
    this.#child.kill('SIGHUP');
  }

  /** The serial number of the certificate that it serves now. */
  async serial(): Promise<string> {
    const { port } = this;
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const serial = socket.getPeerX509Certificate()?.serialNumber ?? 'none';
    socket.destroy();
    return serial;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
