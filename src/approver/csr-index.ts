import { compareAge } from './csr-order.ts';
import type { CsrLookup, CsrReference } from './facts.ts';
import { compareText } from './fair-queue.ts';
import { SortedList } from './sorted-list.ts';

interface Entry {
  readonly reference: CsrReference;
  readonly keyDigest: string | undefined;
}

/** Every CSR of the nodes, pending or decided, reduced to what later CSRs are compared with. */
export class CsrIndex implements CsrLookup {
  readonly #entries = new Map<string, Entry>();
  readonly #byNode = new Map<string, SortedList<CsrReference>>();
  readonly #byKey = new Map<string, readonly CsrReference[]>();

  get size(): number {
    return this.#entries.size;
  }

  names(): Iterable<string> {
    return this.#entries.keys();
  }

  /** True if this CSR is known, in any version. */
  has({ name, node, createdAt }: CsrReference): boolean {
    const known = this.#entries.get(name)?.reference;
    return known?.node === node && known.createdAt === createdAt;
  }

  /** Keeps the first version of a CSR, because the order of two CSRs must not change with a decision. */
  put(reference: CsrReference, keyDigest: string | undefined): void {
    if (this.has(reference)) return;
    this.remove(reference.name);
    this.#entries.set(reference.name, { reference, keyDigest });
    const ofNode = this.#byNode.get(reference.node) ?? new SortedList<CsrReference>(byAgeAndName);
    ofNode.add(reference);
    this.#byNode.set(reference.node, ofNode);
    if (keyDigest === undefined) return;
    this.#byKey.set(keyDigest, [...(this.#byKey.get(keyDigest) ?? []), reference]);
  }

  remove(name: string): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    const { reference, keyDigest } = entry;
    this.#entries.delete(name);
    const ofNode = this.#byNode.get(reference.node);
    ofNode?.remove(reference);
    if (ofNode?.size === 0) this.#byNode.delete(reference.node);
    if (keyDigest === undefined) return;
    const left = this.#byKey.get(keyDigest)?.filter((one) => one !== reference) ?? [];
    if (left.length > 0) this.#byKey.set(keyDigest, left);
    else this.#byKey.delete(keyDigest);
  }

  newest(node: string): CsrReference | undefined {
    return this.#byNode.get(node)?.last;
  }

  keyUses(keyDigest: string): Iterable<CsrReference> {
    return this.#byKey.get(keyDigest) ?? [];
  }
}

function byAgeAndName(left: CsrReference, right: CsrReference): number {
  return compareAge(left, right) || compareText(left.name, right.name);
}
