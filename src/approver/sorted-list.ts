/** A list in ascending order. Searches with bisection, so thousands of items are no burden. */
export class SortedList<T> {
  readonly #compare: (left: T, right: T) => number;
  readonly #items: T[] = [];

  /** @param compare zero only for items that are equal */
  constructor(compare: (left: T, right: T) => number) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#items.length;
  }

  get first(): T | undefined {
    return this.#items[0];
  }

  get last(): T | undefined {
    return this.#items.at(-1);
  }

  add(item: T): void {
    this.#items.splice(this.#positionOf(item), 0, item);
  }

  remove(item: T): void {
    const at = this.#positionOf(item);
    const found = this.#items[at];
    if (found !== undefined && this.#compare(found, item) === 0) this.#items.splice(at, 1);
  }

  takeLast(): T | undefined {
    return this.#items.pop();
  }

  /** The position of the first item that is not before this one. */
  #positionOf(item: T): number {
    let low = 0;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = this.#items[middle];
      if (at !== undefined && this.#compare(at, item) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
