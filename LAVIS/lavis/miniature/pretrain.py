"""Teaches the miniature's model to describe pictures; it never sees a question.

    bash LAVIS/run_scripts/blip2/train/pretrain_miniature.sh

The result is committed in `lavis/miniature/base`: what InstructBLIP's own pretraining is to the real model.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from tqdm import tqdm

from lavis.inputs import Encoder
from lavis.miniature.base_model import make_model, make_processor
from lavis.miniature.pictures import draw_scene, picture
from lavis.trained import save_processor
from open_instruct.core.command import help_field, run

PROMPT = "describe the image"


@dataclass
class Settings:
    output_dir: str = help_field("folder of the checkpoint", "output/miniature_vl_base")
    steps: int = help_field("optimizer steps", 1000)
    batch_size: int = help_field("pictures a step", 64)
    learning_rate: float = help_field("peak, after 100 steps of warm-up; falls linearly to a twentieth", 1e-3)
    seed: int = help_field("of the weights and the pictures", 0)


def main(settings: Settings) -> None:
    """Train, print the loss, write the checkpoint folder."""
    torch.manual_seed(settings.seed)
    rng = Random(settings.seed)
    processor = make_processor()
    model = make_model(processor)
    encoder = Encoder(processor, decoder_only=True, max_prompt=64, max_target=64)
    print(f"{sum(one.numel() for one in model.parameters()):,} parameters, {len(processor.tokenizer)} tokens")
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 100) * max(0.05, 1 - step / settings.steps)
    )
    model.train()
    begin = time.monotonic()
    progress = tqdm(range(settings.steps), desc="pretraining", mininterval=5)
    for _ in progress:
        scenes = [draw_scene(rng) for _ in range(settings.batch_size)]
        rows = [encoder.example(picture(scene, rng), PROMPT, f"Description: {scene.description}") for scene in scenes]
        loss = model(**encoder.batch(rows)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    print(f"loss of the last batch: {loss.item():.4f}, {time.monotonic() - begin:.0f} s")
    Path(settings.output_dir).mkdir(parents=True, exist_ok=True)
    model.save_pretrained(settings.output_dir)
    save_processor(processor, Path(settings.output_dir))


if __name__ == "__main__":
    run(main, Settings)
