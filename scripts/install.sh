#!/bin/bash
# Installs what was built, below DESTDIR if that is set. Keeps an existing configuration.
set -euo pipefail
umask 022

dist=${DIST:-dist}
prefix=${PREFIX:-/usr}
usr=${DESTDIR:-}$prefix
etc=${DESTDIR:-}/etc/nodecertd
lib=$usr/lib/nodecertd
zsh=${DESTDIR:-}${ZSH_COMPLETIONS:-$prefix/share/zsh/site-functions}

# put FROM TO [MODE]: copies a file and creates its directory.
put() { install -D -m "${3:-644}" "$1" "$2"; }

# Otherwise files of another version would remain.
rm -rf "$lib"
put scripts/nodecertd.sh "$usr/bin/nodecertd" 755
for piece in "$dist"/lib/*.js "$dist"/lib/package.json "$dist"/lib/cache/*/*; do
  put "$piece" "$lib/${piece#"$dist"/lib/}"
done
# Debug symbols are a fifth of the runtime.
put "$dist/lib/node" "$lib/node" 755
if command -v strip >/dev/null; then
  strip --remove-section=.comment "$lib/node"
else
  echo "strip is missing, so Node keeps its symbols (33 MB). On Debian: apt-get install binutils" >&2
fi

for name in nodecertd nodecertd-approver; do
  unit=$usr/lib/systemd/system/$name.service
  put "systemd/$name.service" "$unit"
  sed -i "s|/usr/bin/nodecertd|$prefix/bin/nodecertd|g" "$unit"
done

put systemd/nodecertd.tmpfiles "$usr/lib/tmpfiles.d/nodecertd.conf"

put config/config.schema.json "$usr/share/nodecertd/config.schema.json"
if [ ! -e "$etc/config.yaml" ]; then
  put config/config.yaml "$etc/config.yaml"
  # For editors that check the file against the schema.
  sed -i "s|\$schema=./config|\$schema=$prefix/share/nodecertd/config|" "$etc/config.yaml"
fi

for page in "$dist"/share/man/man1/*; do put "$page" "$usr/share/man/man1/${page##*/}"; done
completions=bash-completion/completions/nodecertd
put "$dist/share/$completions" "$usr/share/$completions"
completions=fish/vendor_completions.d/nodecertd.fish
put "$dist/share/$completions" "$usr/share/$completions"
put "$dist/share/zsh/site-functions/_nodecertd" "$zsh/_nodecertd"

# In the same directories as here, so that links between the pages work.
doc=$usr/share/doc/nodecertd
for file in README.md docs/*.{md,svg} config/*.{yaml,json} config/approver/*.yaml systemd/*.{conf,service}; do put "$file" "$doc/$file"; done
find config/approver/chart -type f -not -name '.*' | while read -r file; do put "$file" "$doc/$file"; done
for file in "$dist"/share/doc/*; do put "$file" "$doc/${file##*/}"; done
