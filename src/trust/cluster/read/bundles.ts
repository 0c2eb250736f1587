import { readAuthorities } from '../../../kube/authorities.ts';
import type { PublishedCas } from '../state.ts';

type Bundle = Pick<PublishedCas, 'authorities' | 'problem'>;

/** Parses each bundle once, because thousands of objects contain the same one. */
export class Bundles {
  readonly #known = new Map<string, Bundle>();

  in(pem: string): Bundle {
    const known = this.#known.get(pem) ?? parse(pem);
    this.#known.set(pem, known);
    return known;
  }
}

function parse(pem: string): Bundle {
  const { authorities, problems } = readAuthorities(Buffer.from(pem));
  const problem = problems[0] ?? (authorities.length === 0 ? 'no certificate' : undefined);
  return { authorities, ...(problem !== undefined && { problem }) };
}
