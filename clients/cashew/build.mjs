// dist/esm and dist/cjs, each with a package.json that tells Node which of both it is.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = dirname(fileURLToPath(import.meta.url));
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');

rmSync(join(folder, 'dist'), { recursive: true, force: true });
for (const [config, out, type] of [['tsconfig.json', 'esm', 'module'],
  ['tsconfig.cjs.json', 'cjs', 'commonjs']]) {
  const { status } = spawnSync(process.execPath, [tsc, '-p', join(folder, config)], {
    stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
  writeFileSync(join(folder, 'dist', out, 'package.json'), `${JSON.stringify({ type })}\n`);
}
