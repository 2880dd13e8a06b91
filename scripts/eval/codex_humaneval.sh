#!/usr/bin/env bash
# HumanEval alone: pass@1 and pass@10, each from 20 answers a problem.
# The programs run in a sandbox: it needs bubblewrap (apt-get install bubblewrap).
# Usage: bash scripts/eval/codex_humaneval.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=codex_humaneval exec bash "$ROOT/scripts/evaluation.sh" "$@"
