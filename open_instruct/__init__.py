"""Stage 2, fine-tuning, and the core that every stage stands on."""

import logging

# On a CPU bitsandbytes, which peft and accelerate import, tells every process which of its kernels it lacks.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
