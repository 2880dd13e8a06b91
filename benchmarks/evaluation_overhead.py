"""Where the time of an evaluation goes: the model, and everything else.

    python benchmarks/evaluation_overhead.py --model CHECKPOINT --tasks gsm_direct,mgsm_cot_0shot --limit 200

One line a benchmark: seconds in the model, and outside it (prompts made and cut, journal, scoring, files). Then the
whole run: imports and reading of the data, loading the model, and the share of what lies outside the model. Loading is
told apart: it is the same for one benchmark and for all.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from eval import backends, results
from eval.run import Settings, main


def measure(arguments: argparse.Namespace, output: Path) -> None:
    backend = backends.backend(arguments.backend)
    load, loading = backend.open_model, []

    def timed(*plan):
        began = time.monotonic()
        model = load(*plan)
        loading.append(time.monotonic() - began)
        return model

    backend.open_model = timed
    began = time.monotonic()
    main(
        Settings(
            model=arguments.model,
            output_dir=str(output),
            tasks=arguments.tasks,
            backend=arguments.backend,
            backend_options=arguments.backend_options,
            dtype=arguments.dtype,
            limit=arguments.limit,
        )
    )
    total = time.monotonic() - began
    print(f"\n{'benchmark':<28}{'items':>7}{'model, s':>10}{'else, s':>9}{'else, %':>9}")
    inside = outside = 0.0
    for name, one in results.read_run(output).items():
        rest = one.seconds - one.seconds_model
        print(f"{name:<28}{one.n:>7,}{one.seconds_model:>10.2f}{rest:>9.2f}{100 * rest / one.seconds:>9.1f}")
        inside, outside = inside + one.seconds_model, outside + rest
    start = total - sum(loading) - inside - outside
    print(f"{'all':<28}{'':>7}{inside:>10.2f}{outside:>9.2f}{100 * outside / (inside + outside):>9.1f}")
    print(f"\nloads of the model: {len(loading)}, {sum(loading):.1f} s; data, checks and the table: {start:.1f} s")
    print(f"outside the model, data and all: {100 * (outside + start) / (inside + outside + start):.1f} % of the run")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tasks", default="gsm_direct,gsm_cot,mgsm_cot_0shot,xquad_translate")
    parser.add_argument("--backend", default="vllm")
    parser.add_argument("--backend_options", nargs="*", default=[])
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--limit", type=int, default=200)
    folder = Path(tempfile.mkdtemp())
    try:
        measure(parser.parse_args(), folder / "run")
    finally:
        shutil.rmtree(folder)
