/**
 * Where a word of the kubelet's command line was written, for the person who has to
 * change it there.
 */
export type Origin =
  | { readonly kind: 'unit'; readonly file: string; readonly line: number }
  | {
      readonly kind: 'variable';
      readonly file: string;
      readonly line: number;
      readonly variable: string;
      /** Which word of the value it is, from 0. */
      readonly word: number;
      /** In an environment file, as against a unit file. */
      readonly plainFile: boolean;
    }
  | { readonly kind: 'process'; readonly pid: number };

export interface CommandWord {
  readonly text: string;
  readonly origin: Origin;
}

/** `line 3 of /etc/default/kubelet (KUBELET_EXTRA_ARGS)` */
export function showOrigin(origin: Origin): string {
  switch (origin.kind) {
    case 'unit':
      return `line ${origin.line} of ${origin.file}`;
    case 'variable':
      return `line ${origin.line} of ${origin.file} (${origin.variable})`;
    case 'process':
      return `the command line of the process ${origin.pid}`;
    default:
      return origin satisfies never;
  }
}
