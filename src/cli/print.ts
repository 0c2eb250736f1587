import { Option } from 'commander';

const formats = ['table', 'json', 'yaml'] as const;
export type OutputFormat = (typeof formats)[number];

/** `-o`, the same for every command with a report. */
export function outputOption(): Option {
  return new Option('-o, --output <format>', 'output format').choices(formats).default('table');
}

/** The value as JSON or YAML, or as a table for people. */
export async function print(
  format: OutputFormat,
  value: unknown,
  table: () => string,
): Promise<string> {
  switch (format) {
    case 'table':
      return table();
    case 'json':
      return `${JSON.stringify(value, null, 2)}\n`;
    case 'yaml': {
      const { yamlText } = await import('./yaml-text.ts');
      // Through JSON first, so that both formats leave out undefined values.
      return yamlText(JSON.parse(JSON.stringify(value)));
    }
    default:
      return format satisfies never;
  }
}
