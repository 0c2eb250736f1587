#!/bin/sh
# Starts nodecertd, also through a symbolic link. Runtime and program are in lib/ beside this
# file after a build, or in PREFIX/lib/nodecertd after an installation in PREFIX/bin.
self=$(readlink -f "$0")
lib=${self%/*}/lib
[ -x "$lib/node" ] || lib=${self%/bin/*}/lib/nodecertd

# One malloc arena that is trimmed early, so the idle agent returns the memory of its start.
export MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536
# Compiled code from the build, so that no process has to compile the program again.
export NODE_COMPILE_CACHE="$lib/cache" NODE_COMPILE_CACHE_PORTABLE=1

# The keeper, which keeps running and listens on a port, has little to do. Without a JIT
# compiler it is smaller, and no memory of it is writable and executable. It starts garbage
# collections itself when it is idle. The enroller starts without these flags, because it
# generates keys and uses TLS.
case "${1-}" in
# sd_notify(3) needs node:ffi, which is experimental, but the Node version is pinned.
run) exec "$lib/node" --disable-warning=ExperimentalWarning --jitless --max-semi-space-size=1 --no-memory-reducer --single-threaded-gc "$lib/main.js" "$@" ;;
certs)
  # Keys of CAs and new keys are in memory that is locked and excluded from core dumps, and malloc
  # overwrites freed memory: see app/enroller-program.ts. An inventory must do without it, because it
  # may parse thousands of keys, and a full secure heap is an error.
  if [ "${2-}" = renew ]; then
    export GLIBC_TUNABLES="${GLIBC_TUNABLES:+$GLIBC_TUNABLES:}glibc.malloc.perturb=165:glibc.malloc.tcache_count=0"
    exec "$lib/node" --secure-heap=262144 --secure-heap-min=16 "$lib/main.js" "$@"
  fi
  # A small young generation and fewer compilers save memory: an inventory of 10,000 files takes 79 MB, and
  # 115 MB with the defaults of Node. Without --path the files are few, and no compiler is worth its 3 MB.
  case " $* " in *" --path"*) maglev=--concurrent-maglev-max-threads=1 ;; *) maglev=--no-maglev ;; esac
  exec "$lib/node" --max-semi-space-size=1 --no-opt "$maglev" "$lib/main.js" "$@"
  ;;
ca-rollover)
  # As for certs renew: apply creates keys and copies them.
  if [ "${2-}" = apply ]; then
    export GLIBC_TUNABLES="${GLIBC_TUNABLES:+$GLIBC_TUNABLES:}glibc.malloc.perturb=165:glibc.malloc.tcache_count=0"
  fi
  # It reads the keys of CAs. It reads a large cluster in pages, so most memory would be garbage.
  exec "$lib/node" --secure-heap=262144 --secure-heap-min=16 --max-semi-space-size=1 --no-opt --no-maglev "$lib/main.js" "$@"
  ;;
# The approver also calls sd_notify(3) and malloc_trim(3), and decides faster with the JIT compiler.
approver) exec "$lib/node" --disable-warning=ExperimentalWarning --max-semi-space-size=4 "$lib/main.js" "$@" ;;
*) exec "$lib/node" "$lib/main.js" "$@" ;;
esac
