#!/usr/bin/env bash
# Submits any script of this repository to Slurm: one task a node, one log a
# rank, going on after preemption, a time limit or a lost node. docs/cluster.md
# has examples. Variables in front of the command reach the job.
# Usage: bash scripts/cluster/submit.sh [FLAGS] SCRIPT [ARGUMENTS OF SCRIPT]
#   --nodes N      machines [1]; several only for scripts that train
#   --gpus G       GPUs of each machine, one process each [0: one CPU process]
#   --time T       time limit as Slurm writes it (8:00:00 or 2-0)
#   --requeue      puts the job back into the queue when it is preempted, loses
#                  a node or reaches its time limit; it then goes on from its
#                  last checkpoint. A job that fails by itself ends.
#   --array SPEC   one job an index (0-4, or 0-9%2 for two at a time); %a in the
#                  ARGUMENTS and in variables becomes the index:
#                  SEED=%a OUTPUT_DIR=runs/%a bash .../submit.sh --array 0-4 ...
#   --partition P  --account A  as the cluster names them
#   --cpus C       CPU cores of each machine
#   --mem M        memory of each machine (200G)
#   --name N       name of the job [that of SCRIPT]
#   --dry_run      prints the batch script and submits nothing
# What else sbatch takes, it reads from variables (SBATCH_QOS, SBATCH_CONSTRAINT).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

CLUSTER_LOGS=${CLUSTER_LOGS:-$ROOT/output/cluster}  # folder of the logs; every machine of the cluster must see it
SAVE_SECONDS=${SAVE_SECONDS:-300}                   # so long before the time limit a --requeue job is told to save and stop
MAX_RESTARTS=${MAX_RESTARTS:-20}                    # a --requeue job comes back so often, then it ends

fail() {
  echo "error: $1" >&2
  exit 1
}

# Flags of ours end at SCRIPT; what follows is its own.
nodes=1 gpus=0 limit='' requeue=no array='' partition='' account='' cpus='' memory='' name='' dry_run=no
while [[ ${1:-} = -* ]]; do
  flag=$1
  shift
  case $flag in
    --requeue) requeue=yes && continue ;;
    --dry_run | --dry-run) dry_run=yes && continue ;;
    --) break ;;
    --*=*) value=${flag#*=} flag=${flag%%=*} ;;
    *) value=${1-} && shift $(($# > 0)) ;;
  esac
  case $flag in
    --nodes) nodes=$value ;;
    --gpus) gpus=$value ;;
    --time) limit=$value ;;
    --array) array=$value ;;
    --partition) partition=$value ;;
    --account) account=$value ;;
    --cpus) cpus=$value ;;
    --mem) memory=$value ;;
    --name) name=$value ;;
    *) fail "$flag: no flag of submit.sh (--help lists them); flags of the script itself come behind it" ;;
  esac
  [[ -n $value && $value != -* ]] || fail "$flag: needs a value"
done
(($# > 0)) || fail "no script given; usage: bash scripts/cluster/submit.sh [FLAGS] SCRIPT [ARGUMENTS]"
script=$1
shift

# Seconds of a time limit as Slurm writes it: minutes, m:s, h:m:s, days-h, days-h:m or days-h:m:s.
seconds_of() {
  local days=0 clock=$1 parts
  [[ $clock =~ ^([0-9]+-[0-9]+(:[0-9]+){0,2}|[0-9]+(:[0-9]+){0,2})$ ]] || return 1
  if [[ $clock = *-* ]]; then
    days=${clock%%-*} clock=${clock#*-}:0:0
  elif [[ $clock = *:*:* ]]; then
    :
  else
    clock=0:$clock:0
  fi
  IFS=: read -ra parts <<<"$clock"
  echo $((((10#$days * 24 + 10#${parts[0]}) * 60 + 10#${parts[1]}) * 60 + 10#${parts[2]}))
}

# Whether a script, or one of ours that it calls, asks which of the machines it runs on.
knows_machines() {
  local files=("$1") seen=' ' called
  while ((${#files[@]} > 0)); do
    grep -qE 'MACHINE_RANK|MASTER_ADDR|SLURM_(NODEID|PROCID)' "${files[0]}" && return
    # shellcheck disable=SC2016  # $ROOT is what stands in the scripts
    while read -r called; do
      [[ $seen = *" $called "* || ! -f $ROOT/$called ]] || files+=("$ROOT/$called")
      seen+="$called "
    done < <(grep -oE '\$ROOT/[A-Za-z0-9_./-]+\.sh' "${files[0]}" | cut -d/ -f2-)
    files=("${files[@]:1}")
  done
  return 1
}

[[ -f $script ]] || fail "$script: no such file (a relative path starts where you stand, $PWD)"
read -r first_line <"$script" || true
[[ $first_line = '#!'*sh* ]] || fail "$script: not a shell script (its first line is no #!/usr/bin/env bash)"
script=$(CDPATH='' cd -- "$(dirname -- "$script")" && pwd -P)/$(basename -- "$script")
name=${name:-$(basename -- "$script" .sh)}
for number in "--nodes=$nodes" "--gpus=$gpus" "--cpus=${cpus:-1}" "SAVE_SECONDS=$SAVE_SECONDS" "MAX_RESTARTS=$MAX_RESTARTS"; do
  [[ ${number#*=} =~ ^[0-9]{1,6}$ ]] || fail "${number%%=*} ${number#*=}: a whole number is expected"
done
nodes=$((10#$nodes)) gpus=$((10#$gpus))
((nodes > 0)) || fail "--nodes 0: a job needs at least one machine"
[[ -z $array || $array =~ ^[0-9]+([-:,%0-9]*[0-9])?$ ]] || fail "--array $array: expected indices such as 0-4, 1,3,5 or 0-9%2"
[[ $name =~ ^[A-Za-z0-9_.-]+$ ]] || fail "--name $name: letters, digits, '_', '.' and '-' are allowed; it names the logs"
[[ $CLUSTER_LOGS != *[%\"\\$'\n']* ]] || fail "CLUSTER_LOGS=$CLUSTER_LOGS: Slurm cannot write to a path with % \" or \\ in it"
if [[ -n $limit ]]; then
  total=$(seconds_of "$limit") || fail "--time $limit: expected minutes, hours:minutes:seconds or days-hours"
  # Slurm warns up to a minute early.
  if [[ $requeue = yes ]] && ((total <= SAVE_SECONDS + 60)); then
    fail "--time $limit: leaves no time to work, since the job is told to save ${SAVE_SECONDS} s before its end; raise it, or set SAVE_SECONDS"
  fi
fi
if ((nodes > 1)) && ! knows_machines "$script"; then
  fail "--nodes $nodes: $script does not train over several machines (it never reads MACHINE_RANK), each would do the same; leave --nodes out"
fi

# The exported variables that hold %a. Not those of the shell itself, and no proxy's address, where %a1 is a letter.
indexed=()
if [[ -n $array ]]; then
  while IFS='=' read -r -d '' variable value; do
    case $variable in
      HIST* | PS[0-9] | PROMPT* | LESS* | *FORMAT | *_proxy | *_PROXY | BASH_FUNC_* | _) continue ;;
    esac
    [[ $value != *%a* ]] || indexed+=("$variable")
  done < <(env -0)
elif [[ " $* " = *%a* ]]; then
  fail "%a in the arguments stands for the index of an --array, and none is given"
fi

[[ $CLUSTER_LOGS = /* ]] || CLUSTER_LOGS=$PWD/$CLUSTER_LOGS
batch_script() {
  local index=%j
  [[ -z $array ]] || index=%A_%a
  echo "#!/usr/bin/env bash"
  echo "#SBATCH --job-name=$name"
  echo "#SBATCH --nodes=$nodes"
  echo "#SBATCH --ntasks-per-node=1"
  ((gpus == 0)) || echo "#SBATCH --gpus-per-node=$gpus"
  [[ -z $cpus ]] || echo "#SBATCH --cpus-per-task=$cpus"
  [[ -z $memory ]] || printf '#SBATCH --mem=%q\n' "$memory"
  [[ -z $limit ]] || echo "#SBATCH --time=$limit"
  [[ -z $partition ]] || printf '#SBATCH --partition=%q\n' "$partition"
  [[ -z $account ]] || printf '#SBATCH --account=%q\n' "$account"
  [[ -z $array ]] || echo "#SBATCH --array=$array"
  echo "#SBATCH --output=\"$CLUSTER_LOGS/%x-$index.log\""
  echo "#SBATCH --open-mode=append"
  echo "#SBATCH --export=ALL"
  if [[ $requeue = yes ]]; then
    echo "#SBATCH --requeue"
    echo "#SBATCH --signal=B:USR1@$SAVE_SECONDS"
  else
    echo "#SBATCH --no-requeue"
  fi
  printf '\nscript=%q\narguments=(' "$script"
  (($# == 0)) || printf ' %q' "$@"
  printf ' )\nlogs=%q\n' "$CLUSTER_LOGS"
  echo "gpus=$gpus cpus=$cpus requeue=$requeue save_seconds=$SAVE_SECONDS max_restarts=$MAX_RESTARTS"
  printf 'indexed=(%s)\n\n' "${indexed[*]}"
  cat "$ROOT/scripts/cluster/job.sbatch"
}

if [[ $dry_run = yes ]]; then
  batch_script "$@"
  exit
fi
command -v sbatch >/dev/null ||
  fail "no sbatch on this machine: log in to a machine of a Slurm cluster, or add --dry_run to see what would be submitted"
mkdir -p "$CLUSTER_LOGS" || fail "CLUSTER_LOGS=$CLUSTER_LOGS: cannot be made"
# From within a job (an interactive one, say) that job's own shape would reach the new one.
for variable in "${!SLURM_@}"; do
  [[ $variable = SLURM_CONF ]] || unset "$variable"
done
answer=$(batch_script "$@" | sbatch --parsable 2>&1) || fail "sbatch refused: ${answer//$'\n'/; }"
job=$(tail -n 1 <<<"$answer")  # warnings come before it
job=${job%%;*}

log=$CLUSTER_LOGS/$name-$job
[[ -z $array ]] || log+="_INDEX"
echo "submitted job $job: $name on $nodes machine(s) with $gpus GPU(s) each${array:+, indices $array}"
((${#indexed[@]} == 0)) || echo "  %a      becomes the index in ${indexed[*]}"
echo "  logs    $log.log (the job), $log/node*.log (its machines), $log/rank*.log (processes, once they end)"
echo "  follow  tail -F $log.log $log/node0.log"
echo "  state   squeue --jobs $job"
echo "  cancel  scancel $job"
