/** Sets environment variables until disposal. */
export function withEnvironment(variables: Readonly<Record<string, string>>): Disposable {
  const names = Object.keys(variables);
  const before = names.map((name) => process.env[name]);
  Object.assign(process.env, variables);
  return {
    [Symbol.dispose]: () => {
      for (const [index, name] of names.entries()) {
        const value = before[index];
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    },
  };
}
