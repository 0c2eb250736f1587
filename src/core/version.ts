import manifest from '../../package.json' with { type: 'json' };

/** Of the program; package.json is the one place where it is written. */
export const version: string = manifest.version;
