import type { Container } from './nspawn.ts';

/**
 * Returns what a shell in the container proposes for the last word of a line when the
 * user presses Tab.
 */
export async function proposals(
  container: Container,
  shell: 'bash' | 'zsh' | 'fish',
  line: string,
): Promise<string[]> {
  const stdout = await ask(container, shell, line);
  // fish adds a description behind a tab.
  return stdout.split('\n').flatMap((one) => one.trim().split('\t')[0] || []);
}

async function ask(container: Container, shell: string, line: string): Promise<string> {
  switch (shell) {
    case 'bash':
      return container.must('bash', '-c', bash, 'bash', line);
    case 'fish':
      return container.must('fish', '-c', `complete -C '${line}'`);
    default:
      await container.write('/tmp/inner.zsh', zshInside);
      return container.must('zsh', '-f', '-c', zshOutside, 'zsh', line);
  }
}

/** bash-completion loads the function by name, at the first Tab. */
const bash = `
source /usr/share/bash-completion/bash_completion
read -ra COMP_WORDS <<<"$1"
[[ $1 != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)) COMP_LINE=$1 COMP_POINT=\${#1}
_completion_loader "\${COMP_WORDS[0]}" 2>/dev/null
compopt() { :; }
"_\${COMP_WORDS[0]}"
printf '%s\\n' "\${COMPREPLY[@]}"
`;

/** zsh completes only in a terminal, so this script types into a zsh in a pseudoterminal. */
const zshOutside = `
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner 'source /tmp/inner.zsh'
until [[ $line == *READY* ]]; do zpty -r inner line || exit 1; done
zpty -n -w inner "$1"$'\\t'
while zpty -r inner line; do
  [[ $line != *HIT:* ]] || print -r -- \${\${line##*HIT:}%%[$'\\r\\n']*}
done
`;

/** Prints each proposed word, executes nothing, and exits after the first Tab. */
const zshInside = `
PROMPT=
autoload -U compinit
compinit -u -D
bindkey '^M' undefined
bindkey '^J' undefined
bindkey '^I' complete-word
null-line() { print }
compprefuncs=(null-line)
comppostfuncs=(null-line exit)
compadd() {
  if [[ \${@[1,(i)(-|--)]} != *-(O|A|D)\\ * ]]; then
    local -a hits
    builtin compadd -A hits "$@"
    (( $#hits == 0 )) || printf 'HIT:%s\\n' $hits
  fi
  builtin compadd "$@"
}
print READY
`;
