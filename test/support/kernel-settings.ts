/**
 * Commands for the unit file of a container with a kubelet. A kubelet reads /dev/kmsg to
 * notice out-of-memory kills, and the container has none. It exits unless three settings
 * of the kernel have its values, and it cannot change those of the whole machine from the
 * container, so files with these values are mounted over them.
 */
export const kernelPreparation = [
  '/bin/ln --symbolic --force null /dev/kmsg',
  `/bin/sh -ec 'mkdir -p /run/kernel; for setting in "vm/overcommit_memory 1" "kernel/panic 10" "kernel/panic_on_oops 1"; do set -- $$setting; file=/run/kernel/$$(basename $$1); echo $$2 >$$file; mount --bind $$file /proc/sys/$$1; done'`,
] as const;
