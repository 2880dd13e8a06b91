#!/usr/bin/env bash
# Runs the tests, the slow ones too; nothing is fetched from a model hub.
# Usage: bash scripts/test.sh [pytest arguments]
#   bash scripts/test.sh -m 'not slow'             # a few seconds each
#   bash scripts/test.sh tests/core -k journal     # a part of them
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/start.sh"

# Without a path among the arguments: all tests, wherever the user stands.
for argument; do
  if [[ -e ${argument%%::*} ]]; then
    exec python -m pytest -c "$ROOT/pyproject.toml" --rootdir "$ROOT" "$@"
  fi
done
exec python -m pytest -c "$ROOT/pyproject.toml" --rootdir "$ROOT" "$@" "$ROOT/tests"
