"""From texts and pictures to what InstructBLIP takes: image tokens, prompt, target, the Q-Former's own tokens.

Training and evaluation make their batches here, with the image processor and the tokenizers of the checkpoint. A prompt
is tokenized as transformers' `InstructBlipProcessor` does it: image tokens, then the text with the tokenizer's own
special tokens. A target follows without them and ends in the end token; only its tokens are learned.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoTokenizer, InstructBlipConfig, InstructBlipProcessor, PreTrainedTokenizerBase
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from lavis.settings import ARCHITECTURES, Model
from open_instruct.core.errors import UserError

QFORMER_TOKENIZER = "qformer_tokenizer"  # folder of a checkpoint, as transformers stores it
IGNORED = -100  # label of a token that is not learned


def load_processor(checkpoint: str, image_tokens: int) -> InstructBlipProcessor:
    """The processor of a checkpoint, its image part in Pillow (the other one needs torchvision).

    Args:
        image_tokens: of a picture: the model's number of query tokens.

    Raises:
        UserError: a part of it is missing or damaged.
    """
    try:
        return InstructBlipProcessor(
            BlipImageProcessorPil.from_pretrained(checkpoint),
            AutoTokenizer.from_pretrained(checkpoint),
            AutoTokenizer.from_pretrained(_qformer_tokenizer(checkpoint), **_subfolder(checkpoint)),
            num_query_tokens=image_tokens,
        )
    except Exception as error:  # the libraries raise anything for a damaged file
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"{checkpoint}: its processor cannot be loaded: {reason}") from error


def encoder_of(settings: Model, config: InstructBlipConfig) -> "Encoder":
    """The encoder of rows for a model, with the checkpoint's processor and the lengths of the settings.

    Raises:
        UserError: see `load_processor`; or tokenizer and model know different image tokens.
    """
    processor = load_processor(settings.pretrained, config.num_query_tokens)
    image_token = processor.tokenizer.convert_tokens_to_ids(processor.image_token.content)
    if image_token != config.image_token_index:
        raise UserError(
            f"{settings.pretrained}: the image token is {image_token} in the tokenizer and {config.image_token_index} "
            "in config.json, so pictures would not be seen. Copy both from one checkpoint, or download it again"
        )
    return Encoder(
        processor,
        decoder_only=ARCHITECTURES[settings.arch] != "t5",
        max_prompt=settings.max_txt_len,
        max_target=settings.max_output_txt_len,
    )


def _qformer_tokenizer(checkpoint: str) -> str:
    folder = Path(checkpoint, QFORMER_TOKENIZER)
    return str(folder) if folder.is_dir() else checkpoint


def _subfolder(checkpoint: str) -> dict[str, str]:
    return {} if Path(checkpoint).is_dir() else {"subfolder": QFORMER_TOKENIZER}


@dataclass
class Encoder:
    """Makes the model's inputs from one row, and batches of them.

    Attributes:
        processor: of the checkpoint.
        decoder_only: whether the language model reads on in its own text (Vicuna) or is an encoder and a decoder (T5).
        max_prompt, max_target: tokens; longer texts are cut off.
        cut_off: targets that were too long, in this process.
    """

    processor: InstructBlipProcessor
    decoder_only: bool
    max_prompt: int
    max_target: int
    cut_off: int = 0

    def prompt(self, image: Image.Image, text: str) -> dict[str, torch.Tensor]:
        """Of one question: `pixel_values` [3, side, side], and `input_ids` and `qformer_input_ids` [tokens]."""
        pixels = self.processor.image_processor(image, return_tensors="pt")["pixel_values"][0]
        image_token = self._tokenizer.convert_tokens_to_ids(self.processor.image_token.content)
        ids = self._tokenizer(text, truncation=True, max_length=self.max_prompt)["input_ids"]
        qformer = self.processor.qformer_tokenizer(text, truncation=True, max_length=self.max_prompt)["input_ids"]
        return {
            "pixel_values": pixels,
            "input_ids": torch.tensor([image_token] * self.processor.num_query_tokens + ids),
            "qformer_input_ids": torch.tensor(qformer),
        }

    def example(self, image: Image.Image, text: str, target: str) -> dict[str, torch.Tensor]:
        """Of one row to learn: as `prompt`, with `labels` [tokens]."""
        made = self.prompt(image, text)
        ids = self._tokenizer(target, add_special_tokens=False)["input_ids"]
        self.cut_off += len(ids) >= self.max_target
        learned = torch.tensor([*ids[: self.max_target - 1], self._tokenizer.eos_token_id])
        if self.decoder_only:
            made["labels"] = torch.cat([torch.full_like(made["input_ids"], IGNORED), learned])
            made["input_ids"] = torch.cat([made["input_ids"], learned])
        else:
            made["labels"] = learned
        return made

    def batch(self, rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Rows side by side, padded: to the right in training, to the left where a text is to be continued."""
        left = "labels" not in rows[0] and self.decoder_only
        ids, mask = _padded([row["input_ids"] for row in rows], self._pad_token, left)
        qformer, qformer_mask = _padded(
            [row["qformer_input_ids"] for row in rows], self.processor.qformer_tokenizer.pad_token_id, False
        )
        batch = {
            "pixel_values": torch.stack([row["pixel_values"] for row in rows]),
            "input_ids": ids,
            "attention_mask": mask,
            "qformer_input_ids": qformer,
            "qformer_attention_mask": qformer_mask,
        }
        if "labels" in rows[0]:
            batch["labels"] = _padded([row["labels"] for row in rows], IGNORED, False)[0]
        return batch

    @property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return self.processor.tokenizer

    @property
    def _pad_token(self) -> int:
        pad = self._tokenizer.pad_token_id
        return self._tokenizer.eos_token_id if pad is None else pad


def _padded(rows: list[torch.Tensor], value: int, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """[rows, tokens] each: the rows, and 1 where they have a token."""
    side: Any = "left" if left else "right"
    pad = torch.nn.utils.rnn.pad_sequence
    padded = pad(rows, batch_first=True, padding_value=value, padding_side=side)
    return padded, pad([torch.ones_like(row) for row in rows], batch_first=True, padding_side=side)
