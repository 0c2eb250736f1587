import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

/** Ports of 127.0.0.1 on which nothing listens. Holds each one until the last is found, so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, listen));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map(async (server) => server[Symbol.asyncDispose]()));
  return ports;
}

async function listen(): Promise<Server> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const server = createServer().once('error', reject);
  server.listen(0, '127.0.0.1', () => {
    resolve(undefined);
  });
  await promise;
  return server;
}
