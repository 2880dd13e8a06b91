"""The small InstructBLIP of the miniature, with fresh weights, and its processor: 1 million parameters.

`pretrain.py` teaches it to describe; the result is committed in `base/`. Tests build smaller ones with it.
"""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    LlamaConfig,
    PreTrainedTokenizerFast,
    T5Config,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from lavis.miniature.pictures import COLOURS, DIRECTIONS, PLACES, SHAPES, SIZE

_IMAGE_TOKEN = "<image>"
# Every word of the prompts and of the world is one token.
_WORDS = """
    Description Answer First describe this image then answer the question Please following Answer the directly You
    should first input what is
""".split()


def make_processor(image_tokens: int = 16) -> InstructBlipProcessor:
    """Byte-level BPE tokenizers that read any text, and pictures at their own size."""
    return InstructBlipProcessor(
        BlipImageProcessorPil(size={"height": SIZE, "width": SIZE}),
        _tokenizer(),
        _tokenizer(),
        num_query_tokens=image_tokens,
    )


def make_model(
    processor: InstructBlipProcessor, width: int = 96, layers: int = 3, encoder_decoder: bool = False
) -> InstructBlipForConditionalGeneration:
    """The model with fresh weights.

    Args:
        processor: of `make_processor`.
        width: of all three parts.
        layers: of the language model; image encoder and Q-Former have two.
        encoder_decoder: a T5 instead of a Llama, as in the FlanT5 models.
    """
    tokenizer = processor.tokenizer
    tokens = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    heads = 3
    if encoder_decoder:
        text = T5Config(
            d_model=width, d_ff=3 * width, d_kv=width // heads, num_layers=layers, num_heads=heads,
            decoder_start_token_id=tokenizer.pad_token_id, tie_word_embeddings=False, dropout_rate=0.0, **tokens,
        )  # fmt: skip
    else:
        text = LlamaConfig(
            hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers, num_attention_heads=heads,
            max_position_embeddings=512, **tokens,
        )  # fmt: skip
    shape = {"hidden_size": width, "intermediate_size": 3 * width, "num_attention_heads": heads, "num_hidden_layers": 2}
    config = InstructBlipConfig(
        vision_config={**shape, "image_size": SIZE, "patch_size": 8},
        qformer_config={
            **shape, "vocab_size": len(processor.qformer_tokenizer), "encoder_hidden_size": width,
            "cross_attention_frequency": 1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
            "pad_token_id": processor.qformer_tokenizer.pad_token_id,
        },
        text_config=text.to_dict(),
        num_query_tokens=processor.num_query_tokens,
        image_token_index=tokenizer.convert_tokens_to_ids(_IMAGE_TOKEN),
    )  # fmt: skip
    model = InstructBlipForConditionalGeneration(config)
    ends = {name: tokens[name] for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    start = {"decoder_start_token_id": tokenizer.pad_token_id} if encoder_decoder else {}
    model.generation_config = GenerationConfig(**ends, **start)
    model.language_model.generation_config = GenerationConfig(**ends, **start)
    return model


def _tokenizer() -> PreTrainedTokenizerFast:
    words = {*_WORDS, *COLOURS, *SHAPES}
    words |= {word for phrase in (*PLACES, *DIRECTIONS) for word in phrase.split()}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048,  # more than the merges there are: training stops when every word is one token
        min_frequency=1,
        special_tokens=["<pad>", "<s>", "</s>", _IMAGE_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*sorted(words), *(f" {word}" for word in sorted(words))], trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=512
    )
    return made
