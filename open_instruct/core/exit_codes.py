"""Exit codes of our own, for launchers and Slurm jobs. It imports nothing, since a launcher has to start fast."""

# With which a run ends that SIGTERM stopped: EX_TEMPFAIL of sysexits.h, nothing is wrong, try again.
INTERRUPTED = 75
