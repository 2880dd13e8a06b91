"""DeepSpeed's Adam for an optimizer in the machine's memory is compiled where it runs: once, before a model is loaded.

`finetune.py` calls it where weights or optimizer are offloaded. Left to DeepSpeed, every process compiles it after the
model is loaded, and what the compiler did not like ends as a hundred lines from each of them.
"""

import fcntl
import os
from pathlib import Path

from open_instruct.core.errors import UserError

# Of ours alone, so that a lock in it can only be of a run of ours. A folder of the user's own is taken as it is.
_FOLDER = Path.home() / ".cache" / "torch_extensions" / "open_instruct"


def compile_adam() -> None:
    """Compile DeepSpeed's `cpu_adam`, or find that it was; one process of the machine, while the others wait.

    Raises:
        UserError: it cannot be compiled here.
    """
    import deepspeed
    from deepspeed.ops.op_builder import CPUAdamBuilder

    if " " in deepspeed.__file__:  # the linker's command is not quoted
        raise _cannot(f"there is a blank in {Path(deepspeed.__file__).parent}; set the project up in a path without")
    folder = Path(os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(_FOLDER)))
    builder = CPUAdamBuilder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "one_at_a_time", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # torch's own lock is a file, which a compilation that was killed leaves behind for others to wait for.
            (folder / builder.name / "lock").unlink(missing_ok=True)
            builder.load(verbose=False)
    except Exception as error:  # of compiler, linker, loader
        raise _cannot(_reason(error)) from error


def _cannot(reason: str) -> UserError:
    return UserError(
        f"offloading needs DeepSpeed's cpu_adam, which cannot be compiled here: {reason}. Or train without offloading "
        "(SHARDING=zero2, zero3, fsdp2)"
    )


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "error:" in line or "not found" in line]
    return (told or lines or [type(error).__name__])[0][:300].rstrip(".")
