"""Memory of `weight_diff` on a model of about 2 GB of random bfloat16 weights, beside the largest shard.

    python benchmarks/weight_diff_memory.py [--layers 24] [--folder output/weight_diff_memory]

Base and tuned model are cut into shards at different tensors, the tuned vocabulary is larger, and what is recovered is
compared with the tuned files byte for byte. Goal: peak memory under 1.3 times the largest shard.

Each command runs in a process of its own, which imports what it needs, sets the kernel's record of its largest resident
memory back to now (/proc/self/clear_refs), runs, and reads the record (VmHWM). That record counts every resident page,
mapped files and buffers of ours alike, and misses no short peak, as watching from outside would. RssAnon, the part that
no file stands behind, is sampled every 5 ms. The page cache is the kernel's and belongs to no process. `.bin` files are
mapped, so there the whole resident memory holds pages of the file, which the kernel takes back when it needs them.
"naive" does the same with a library call a shard, and only where both models are cut alike.
"""

import argparse
import filecmp
import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent
WIDTH, VOCABULARY, ADDED = 2048, 64_000, 64
CHILD = """
import json, re, sys, threading, time
from pathlib import Path
import numpy, torch
from safetensors.torch import load_file, save_file
from open_instruct.weight_diff import make_diff, recover

def naive(raw, tuned, diff):
    diff.mkdir(parents=True)
    for shard in sorted(tuned.glob("*.safetensors")):
        a, b = load_file(raw / shard.name), load_file(shard)
        save_file({name: b[name] - a[name] for name in b if b[name].shape == a[name].shape}, diff / shard.name)

def status(name):
    return int(re.search(name + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

def watch():
    while True:
        most.append(max(most.pop(), status("RssAnon")))
        time.sleep(0.005)

command, *paths = sys.argv[1:]
open("/proc/self/clear_refs", "w").write("5")
rss, anonymous = status("VmRSS"), status("RssAnon")
most = [anonymous]
threading.Thread(target=watch, daemon=True).start()
start = time.monotonic()
{"make_diff": make_diff, "recover": recover, "naive": naive}[command](*map(Path, paths))
seconds = time.monotonic() - start
print(json.dumps([status("VmHWM") - rss, most[0] - anonymous, seconds]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=24, help="24 make 2.1 GB")
    parser.add_argument("--folder", type=Path, default=ROOT / "output" / "weight_diff_memory", help="emptied first")
    given = parser.parse_args()
    folder = given.folder
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(0)
    raw, tuned = folder / "raw", folder / "tuned"
    shard = make_models(raw, tuned, given.layers)
    print(f"largest shard {shard / 2**20:,.0f} MiB; goal {1.3 * shard / 2**20:,.0f} MiB\n")
    print("| command | weights | peak MiB | of the largest shard | of it RssAnon, MiB | seconds |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    diff, back = folder / "diff", folder / "back"
    row("make_diff", "safetensors", shard, raw, tuned, diff)
    row("recover", "safetensors", shard, raw, back, diff)
    for path in tuned.glob("*.safetensors"):
        assert filecmp.cmp(path, back / path.name, shallow=False), path
    shutil.rmtree(diff)
    shutil.rmtree(back)
    row("naive", "safetensors, cut alike", shard, tuned, tuned, folder / "naive")
    shutil.rmtree(folder / "naive")
    to_binary(raw)
    row("make_diff", "base as .bin", shard, raw, tuned, diff)
    row("recover", "base as .bin", shard, raw, back, diff)
    shutil.rmtree(folder)


def row(command: str, weights: str, shard: int, *paths: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, command, *map(str, paths)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    peak, anonymous, seconds = json.loads(done.stdout.splitlines()[-1])
    share = peak * 2**20 / shard
    print(f"| {command} | {weights} | {peak:,.0f} | {share:.2f} | {anonymous:,.0f} | {seconds:.1f} |", flush=True)


def make_models(raw: Path, tuned: Path, layers: int) -> int:
    """Write both, and return the bytes of the largest shard. The base's shards hold 5 layers, the tuned model's 6."""
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH)}
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"}
        shapes |= {f"model.layers.{layer}.mlp.{name}_proj.weight": (4 * WIDTH // 2, WIDTH) for name in ("gate", "up")}
        shapes[f"model.layers.{layer}.input_layernorm.weight"] = (WIDTH,)
    shapes["lm_head.weight"] = (VOCABULARY, WIDTH)
    names = list(shapes)
    largest = 0
    for folder, rows, a_shard in ((raw, VOCABULARY, 5 * 7), (tuned, VOCABULARY + ADDED, 6 * 7)):
        folder.mkdir(parents=True)
        config = {"model_type": "llama", "vocab_size": rows, "tie_word_embeddings": False}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "tokenizer.json").write_text("{}")
        cut = [names[begin : begin + a_shard] for begin in range(0, len(names), a_shard)]
        weight_map = {}
        for number, inside in enumerate(cut, 1):
            file = f"model-{number:05}-of-{len(cut):05}.safetensors"
            torch.manual_seed(0)
            tensors = {
                name: torch.randn((rows, WIDTH) if shapes[name][0] == VOCABULARY else shapes[name]).bfloat16()
                for name in inside
            }
            save_file(tensors, folder / file, metadata={"format": "pt"})
            largest = max(largest, (folder / file).stat().st_size)
            weight_map |= dict.fromkeys(inside, file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return largest


def to_binary(folder: Path) -> None:
    from safetensors.torch import load_file

    weight_map = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors = load_file(path)
        file = path.name.replace("model", "pytorch_model").replace(".safetensors", ".bin")
        torch.save(tensors, folder / file)
        weight_map |= dict.fromkeys(tensors, file)
        path.unlink()
    (folder / "model.safetensors.index.json").unlink()
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))


if __name__ == "__main__":
    main()
