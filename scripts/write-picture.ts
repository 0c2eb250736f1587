import { writeFile } from 'node:fs/promises';
import { livePicture, pictureFile } from '../test/sandbox/demonstration/picture.ts';

/** `node scripts/write-picture.ts`: run it after a change of the live table or its hints. */
await writeFile(pictureFile, livePicture());
