import { get } from 'node:https';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * Forwards TCP connections to the API servers in turn, as a load balancer does. It requests /readyz twice a
 * second, and two equal results in a row decide whether a server is used, as in the configuration of HAProxy
 * in the documentation of kubeadm. A server that refuses a connection is skipped.
 *
 * Arguments: the address where it listens, and the addresses of the API servers. Lines on standard
 * input: `drain ADDRESS` and `add ADDRESS`. The line is printed when it is done: a drained server then has
 * no connection.
 */
class Backend {
  readonly address: string;
  isReady = false;
  isDrained = false;
  #wasReady = false;
  connections = 0;
  onIdle: (() => void) | undefined;

  constructor(address: string) {
    this.address = address;
    this.#check();
  }

  get isUsed(): boolean {
    return this.isReady && !this.isDrained;
  }

  #check(): void {
    const url = `https://${this.address}:${port}/readyz`;
    const sent = get(url, { agent: false, rejectUnauthorized: false, timeout: 2_000 });
    let isReady = false;
    sent.once('timeout', () => sent.destroy());
    sent.once('error', () => {
      isReady = false;
    });
    sent.once('response', (response) => {
      isReady = response.statusCode === 200;
      response.resume();
    });
    sent.once('close', () => {
      if (isReady === this.#wasReady) this.isReady = isReady;
      this.#wasReady = isReady;
      setTimeout(() => this.#check(), 500);
    });
  }

  connect(): Socket {
    this.connections += 1;
    const socket = connect({ host: this.address, port });
    socket.once('close', () => {
      this.connections -= 1;
      if (this.connections === 0) this.onIdle?.();
    });
    return socket;
  }
}

const port = 6443;
const [listenAddress = '', ...addresses] = process.argv.slice(2);
const backends = addresses.map((address) => new Backend(address));
let turn = 0;

function accept(client: Socket): void {
  client.on('error', () => client.destroy());
  turn += 1;
  const start = turn % backends.length;
  const inTurn = [...backends.slice(start), ...backends.slice(0, start)];
  forward(
    client,
    inTurn.filter(({ isUsed }) => isUsed),
  );
}

function forward(client: Socket, [backend, ...others]: readonly Backend[]): void {
  if (backend === undefined) {
    client.destroy();
    return;
  }
  const server = backend.connect();
  const refuse = (): void => {
    forward(client, others);
  };
  server.once('error', refuse);
  server.once('connect', () => {
    server.off('error', refuse);
    server.on('error', () => client.destroy());
    client.once('close', () => server.destroy());
    client.pipe(server);
    server.pipe(client);
  });
}

async function follow(command: string, address: string): Promise<void> {
  const backend = backends.find((one) => one.address === address);
  if (backend === undefined) throw new Error(`no API server has the address ${address}`);
  backend.isDrained = command === 'drain';
  if (!backend.isDrained || backend.connections === 0) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  backend.onIdle = resolve;
  await promise;
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const [command = '', address = ''] = line.split(' ');
  void follow(command, address).then(() => process.stdout.write(`${line}\n`));
});

createServer(accept).listen(port, listenAddress, () => {
  process.stdout.write('listening\n');
});
