# shellcheck shell=bash
# What every bash script of the project does first. It is sourced, right after `set -euo pipefail`:
#     . "$(dirname "${BASH_SOURCE[0]}")/start.sh"
# It sets ROOT (this checkout, absolute); answers --help from the calling script's own header comment and lines
# `NAME=${NAME:-default}  # effect`; makes the environment when there is none or its requirements changed since; and puts that
# environment's Python first in PATH (SIT_ENV=active: leaves the active one). It never changes directory: a relative path
# stays relative to where the user stands.

# shellcheck disable=SC2034  # read by the calling script
ROOT=$(CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

for argument; do
  case $argument in
    --) break ;;
    -h | --help)
      awk '
        # Prints text in lines of at most 80 columns: the first after `lead`, the others after as many spaces as `indent`.
        function wrapped(lead, indent, text,    words, count, i, line) {
          count = split(text, words, " ")
          line = lead
          for (i = 1; i <= count; i++) {
            if (length(line) + length(words[i]) >= 80) { print line; line = sprintf("%" indent "s", "") }
            line = line (line ~ /[^ ]$/ ? " " : "") words[i]
          }
          print line
        }
        # Prints a line of the header; what is beyond 80 columns goes below, two columns within where the text began.
        function folded(line,    indent, cut) {
          match(line, /^(Usage:)? */)
          indent = RLENGTH ? RLENGTH + 2 : 0
          while (length(line) > 80) {
            for (cut = 81; cut > indent && substr(line, cut, 1) != " "; cut--) continue
            if (cut <= indent) break
            print substr(line, 1, cut - 1)
            line = sprintf("%" indent "s", "") substr(line, cut + 1)
          }
          print line
        }
        NR == 1 && /^#!/ { next }
        !body && /^#/ { sub(/^# ?/, ""); folded($0); next }
        { body = 1 }
        match($0, /^[A-Z][A-Z0-9_]*="?\$\{[A-Z][A-Z0-9_]*:?-/) {
          name = $0; sub(/=.*/, "", name)
          value = substr($0, RLENGTH + 1); effect = ""
          if (at = index(value, "  # ")) { effect = substr(value, at + 4); value = substr(value, 1, at - 1) }
          sub(/\}"?[ ]*$/, "", value)
          if (!variables++) print "\nVariables, set in front of the command (NAME=value bash ...):\n"
          wrapped("  " name, 4, "[" value "]")
          wrapped("      ", 6, effect)
        }' "${BASH_SOURCE[1]}"
      exit 0
      ;;
  esac
done
unset argument

# setup.sh comes here too, for its --help; it makes the environment, so there is none to enter.
[[ ${BASH_SOURCE[1]} -ef $ROOT/setup.sh ]] && return

# A folder named `eval` where the user stands must not be taken for our package of that name.
export PYTHONSAFEPATH=1
if [[ ${SIT_ENV:-} = active ]]; then
  # torch is looked up, not loaded: that takes a second and more, at every script
  python -c 'import importlib.util, sys, open_instruct, self_seq; sys.exit(not importlib.util.find_spec("torch"))' 2>/dev/null ||
    bash "$ROOT/setup.sh" >&2
else
  for file in "$ROOT"/requirements*.txt "$ROOT/pyproject.toml"; do
    # true where .finished is missing, too
    if [[ $file -nt $ROOT/.venv/.finished ]]; then
      bash "$ROOT/setup.sh" >&2
      break
    fi
  done
  unset file
  export PATH="$ROOT/.venv/bin:$PATH"
fi
