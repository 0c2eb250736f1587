/**
 * Replaces `$(NAME)` in a command line as Kubernetes does (third_party/forked/golang/expansion):
 * `$$` is a dollar, and a variable without a value stays as it is.
 */
export function expandVariables(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(/\$\$|\$\(([^)]*)\)/g, (match, name: string | undefined) =>
    name === undefined ? '$' : (variables.get(name) ?? match),
  );
}

/** The first variable that is left in a text, such as `$(POD_IP)`. */
export function variableIn(text: string): string | undefined {
  return /\$\([^)]*\)/.exec(text)?.[0];
}
