import { join } from 'node:path';
import { controlPlaneDirectory, isExecutable, skip } from './programs.ts';

/** kubeadm, the reference for the certificates of a control-plane node. */
export function kubeadmProgram(): string {
  return join(controlPlaneDirectory(), 'kubeadm');
}

/** For the `skip` option of a test. @throws in CI, where no test may be skipped */
export function skipWithoutKubeadm(): string | false {
  // For chroot(2), with which it makes a tree in a folder.
  if (process.getuid?.() !== 0) return skip('tests that need kubeadm: not root');
  if (isExecutable(kubeadmProgram())) return false;
  return skip('tests that need kubeadm: not built (make control-plane)');
}
