"""The parts of fine-tuning: rows to tokens, packed batches, checkpoints to go on from. See `open_instruct.finetune`."""

# With which a run ends that SIGTERM stopped: EX_TEMPFAIL of sysexits.h, nothing is wrong, try again. Here, since the
# launcher wants it and none of the libraries that training needs.
INTERRUPTED = 75
