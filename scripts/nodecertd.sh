#!/bin/sh
# Finds the runtime and the program, also through a symbolic link: beside this file,
# where they were built, or in PREFIX/lib if it is installed as PREFIX/bin/nodecertd.
self=$(readlink -f "$0")
lib=${self%/*}/lib
[ -x "$lib/node" ] || lib=${self%/bin/*}/lib/nodecertd

# One malloc arena, trimmed early: a daemon that sleeps should not hold what start-up needed.
export MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536
# Compiled code, made by the build: no process parses what others have parsed before.
export NODE_COMPILE_CACHE="$lib/cache" NODE_COMPILE_CACHE_PORTABLE=1

# The process that lives on and listens does little and does it seldom: without a JIT
# compiler it is smaller, and none of its memory is ever both writable and executable.
# It collects garbage when it knows that things are quiet, so V8 need not guess. Its
# helper, which computes keys and speaks HTTPS, starts without these flags.
case "${1-}" in
# sd_notify(3) needs node:ffi, which is experimental; the runtime is pinned.
run) exec "$lib/node" --disable-warning=ExperimentalWarning --jitless --max-semi-space-size=1 --no-memory-reducer --single-threaded-gc "$lib/main.js" "$@" ;;
*) exec "$lib/node" "$lib/main.js" "$@" ;;
esac
