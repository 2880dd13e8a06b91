"""A real Slurm on this machine, for the tests of scripts/cluster: two machines that are two daemons, each with a port.

It needs Debian's `slurm-wlm` and `munge` (`apt-get install slurm-wlm munge`), and root, as a daemon of Slurm does. All
that it writes is in one folder of its own; no service of the system is touched.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue")

# Jobs of the partition `high` push those of `low` off the machines and back into the queue.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=15
MessageTimeout=60
BatchStartTimeout=60
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=low Nodes=n[1-2] Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=high Nodes=n[1-2] MaxTime=INFINITE PriorityTier=2
"""


def why_not() -> str | None:
    """Why no Slurm can be started here, or None."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"needs Slurm (apt-get install slurm-wlm munge): no {', '.join(missing)}"
    if os.geteuid() != 0:
        return "needs root: a daemon of Slurm starts its jobs as their users"
    return None


class SlurmCluster:
    """Two machines, n1 and n2, of two cores each. A context manager; `environment` is for the commands of Slurm."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sit-slurm-"))
        self.folder.chmod(0o755)  # munged wants every user to reach its socket
        self.environment = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}
        for name in [name for name in self.environment if name.startswith(("SBATCH_", "SLURM_"))]:
            if name != "SLURM_CONF":
                del self.environment[name]
        self._daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "SlurmCluster":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if "n2" in self._daemons:
            subprocess.run(["scancel", "--user", "root"], env=self.environment, capture_output=True)
            subprocess.run(["scancel", "--user", "root", "--signal=KILL"], env=self.environment, capture_output=True)
            deadline = time.monotonic() + 30
            while self.run("squeue", "--noheader", check=False) and time.monotonic() < deadline:
                time.sleep(0.2)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in reversed(self._daemons.values()):
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command: str, check: bool = True) -> str:
        """What a command of Slurm prints.

        Raises:
            AssertionError: it failed.
        """
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def job(self, job: str) -> dict[str, str]:
        """What Slurm knows of a job: JobState, Restarts, ExitCode, Reason, ..."""
        words = self.run("scontrol", "show", "job", job, "--oneliner").split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait_for(self, what: str, holds: Callable[[], object], seconds: float = 300) -> None:
        """Until `holds()`.

        Raises:
            AssertionError: it did not come within `seconds`; with the daemons' last words.
        """
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"no {what} after {seconds} s\n{self.last_words()}"
            time.sleep(0.2)

    def wait_for_state(self, job: str, *states: str, seconds: float = 300) -> None:
        """Until the job has one of these states. The two minutes that Slurm waits after a requeue are cut short."""
        waits_since = None

        def reached() -> bool:
            nonlocal waits_since
            now = self.job(job)
            if now["JobState"] != "PENDING" or now["Reason"] != "BeginTime":
                waits_since = None
            elif waits_since is None:
                waits_since = time.monotonic()
            # Within a second or two the machine takes the new start for the one that was revoked, and refuses it.
            elif time.monotonic() - waits_since > 5:
                self.run("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)
            return now["JobState"] in states

        self.wait_for(f"{' or '.join(states)} of job {job}", reached, seconds)

    def last_words(self) -> str:
        """The queue, and the last lines of each daemon's log."""
        logs = [f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log"))]
        return "\n".join([self.run("squeue", check=False), *logs])

    def start_machine(self, name: str) -> None:
        """Start the daemon of n1 or n2."""
        self._daemon(name, "slurmd", "-D", "-N", name)

    def stop_machine(self, name: str) -> None:
        """Kill the daemon of n1 or n2, and tell the controller that the machine is gone."""
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()
        self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=test")

    def _start(self) -> None:
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        (self.folder / "state").mkdir()
        text = CONFIGURATION.format(host=socket.gethostname(), ports=_free_ports(3), user="root", folder=self.folder)
        (self.folder / "slurm.conf").write_text(text)
        flags = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "seed")]
        flags += [f"--log-file={self.folder}/munged-own.log", f"--socket={self.folder}/munge.socket"]
        self._daemon("munged", "munged", "--foreground", "--num-threads=10", *flags)
        self.wait_for("socket of munged", (self.folder / "munge.socket").exists, 60)
        self._daemon("slurmctld", "slurmctld", "-D")
        for machine in ("n1", "n2"):
            self.start_machine(machine)
        self.wait_for("idle machines", self._all_idle, 180)

    def _all_idle(self) -> bool:
        for name, daemon in self._daemons.items():
            assert daemon.poll() is None, f"{name} ended\n{self.last_words()}"
        return self.run("sinfo", "--noheader", "--partition=low", "--format=%T %D", check=False) == "idle 2"

    def _daemon(self, name: str, *command: str) -> None:
        with open(self.folder / f"{name}.log", "ab") as log:
            self._daemons[name] = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )


def _free_ports(count: int) -> list[int]:
    """Below those that Linux gives to whoever asks for any, which it might do while a machine is gone; and not those of
    the first jobs (scripts/cluster/job.sbatch)."""
    ports: set[int] = set()
    while len(ports) < count:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            ports.add(port)
    return list(ports)
