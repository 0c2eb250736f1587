/**
 * The parts of undici that this program uses, by their own paths. The index of the package also
 * loads fetch, WebSocket, caches and mocks: 2.7 MB and 15 ms more in every enroller,
 * measured in a minified bundle. undici has no `exports` map, so the paths can be
 * imported; only their types are missing.
 */
declare module 'undici/lib/dispatcher/pool.js' {
  import { Pool } from 'undici';
  export = Pool;
}

declare module 'undici/lib/dispatcher/proxy-agent.js' {
  import { ProxyAgent } from 'undici';
  export = ProxyAgent;
}

declare module 'undici/lib/api/api-request.js' {
  import type { Dispatcher } from 'undici';
  function request(
    this: Dispatcher,
    options: Dispatcher.RequestOptions,
  ): Promise<Dispatcher.ResponseData>;
  export = request;
}

declare module 'undici/lib/api/api-connect.js' {
  import type { Pool } from 'undici';
  const connect: Pool['connect'];
  export = connect;
}

declare module 'undici/lib/core/connect.js' {
  import { buildConnector } from 'undici';
  export = buildConnector;
}
