"""Starts a module on several processes, with torchrun's flags, and ends as they ended.

    python -m open_instruct.training.launch --nproc_per_node 8 -m open_instruct.finetune ...

torchrun alone, and `accelerate launch`, which is built on it, end every failure with a traceback of their own and
exit code 1, and kill processes that are still writing their checkpoint 30 seconds after a SIGTERM. Here the exit code
is the process's own, so that a Slurm job knows `INTERRUPTED`, and they have an hour. Called by the scripts.
"""

import logging
import os
import sys

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

from open_instruct.core.exit_codes import INTERRUPTED


def main() -> None:
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "3600")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _processes_a_machine())))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the processes speak for themselves
    try:
        run(parse_args(sys.argv[1:]))
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        sys.exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
    except SignalException as error:
        sys.exit(INTERRUPTED if error.sigval.name == "SIGTERM" else 128 + error.sigval)


def _processes_a_machine() -> int:
    known = parse_args(sys.argv[1:]).nproc_per_node
    return int(known) if known.isdecimal() else 1


if __name__ == "__main__":
    main()
