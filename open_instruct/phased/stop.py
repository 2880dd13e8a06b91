"""Ends what `scripts/phased/run.sh` started, and nothing else. `scripts/phased/stopall.sh` calls it.

    python -m open_instruct.phased.stop [--output_dir FOLDER]

run.sh puts SIT_PHASED_RUN=OUTPUT_DIR into its environment, which all of its processes inherit and nobody else has: so
they are known even where run.sh itself was killed and left them behind, and a process number that the system gave away
again is never mistaken for one of them. First they are asked (SIGTERM: training saves a checkpoint, and the same
run.sh goes on from it); what is still there after --seconds is killed.
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from open_instruct.core.command import help_field, run

MARK = "SIT_PHASED_RUN"
_LOOK_SECONDS = 0.2
_STARTS_WITHIN = 5.0  # seconds until a new process has its environment
_KILLED_WITHIN = 10.0  # seconds


@dataclass
class Settings:
    output_dir: str = help_field("only the run that writes there; by default every run of this user", "")
    seconds: float = help_field("given to a run for saving its checkpoint before it is killed", 600.0)


def main(settings: Settings) -> None:
    """End the runs and tell which."""
    found = running(settings.output_dir)
    if not found:
        where = f" that writes to {settings.output_dir}" if settings.output_dir else ""
        others = sorted(set(running().values()))
        print(f"no run of run.sh{where} is under way" + (f"; others write to {', '.join(others)}" if others else ""))
        return
    runs = sorted(set(found.values()))
    print(f"ending {len(found)} processes of {', '.join(runs)}; training saves a checkpoint first", flush=True)
    for process in _heads(found):
        _signal(process, process.terminate)
    left = _wait(settings.output_dir, settings.seconds)
    for process in left:
        _signal(process, process.kill)
    _wait(settings.output_dir, _KILLED_WITHIN)
    killed = f", {len(left)} of them by force after {settings.seconds:g} s" if left else ""
    print(f"ended{killed}; the same run.sh goes on from the last whole checkpoint")


def running(output_dir: str = "") -> dict[psutil.Process, str]:
    """This user's processes that a run.sh started, with the folder that it writes to; never this process or its own
    parents.

    Args:
        output_dir: only those of the run that writes there; "" for all.
    """
    wanted = str(Path(output_dir).resolve()) if output_dir else ""
    me = psutil.Process()
    own = {me, *me.parents()}
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it ended, or is another user's
            if process.uids().real != os.getuid() or process in own or process.status() == psutil.STATUS_ZOMBIE:
                continue
            folder = _environment(process).get(MARK, "")
            if folder and wanted in ("", folder):
                found[process] = folder
    return found


def _environment(process: psutil.Process) -> dict[str, str]:
    """Its environment, waited for where a young process has none yet: while a program is started it reads as empty,
    and a process of the run would be taken for a stranger's."""
    young_until = process.create_time() + _STARTS_WITHIN
    while not (environment := process.environ()) and process.exe() and time.time() < young_until:
        time.sleep(0.01)
    return environment


def _heads(found: dict[psutil.Process, str]) -> list[psutil.Process]:
    """Those whose parent is none of them: they tell their own processes to end, in the right order."""
    heads = []
    for process in found:
        with suppress(psutil.Error):
            if process.parent() not in found:
                heads.append(process)
    return heads


def _wait(output_dir: str, seconds: float) -> list[psutil.Process]:
    """Those still there after so long, also ones started meanwhile.

    A process that ended, and whose parent has not asked how (in many containers nobody does), is there no longer.
    """
    end = time.monotonic() + seconds
    while (left := running(output_dir)) and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    return list(left)


def _signal(process: psutil.Process, send) -> None:
    with suppress(psutil.Error):  # it ended meanwhile; psutil signals no other process that has its number now
        send()


if __name__ == "__main__":
    run(main, Settings)
