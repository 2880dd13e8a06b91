"""--config: a YAML file with the names of the flags, which win over it."""

import pytest
from transformers import HfArgumentParser

from open_instruct.core.errors import UserError
from open_instruct.training.settings import Settings, Training, with_flags_of_file


def parsed(arguments):
    return HfArgumentParser((Settings, Training)).parse_args_into_dataclasses(with_flags_of_file(arguments))


def test_a_file_sets_flags_and_flags_win(tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text(
        "model_name_or_path: base\ntrain_file: [a.jsonl, b.jsonl=20]\nlearning_rate: 3e-4\nuse_cpu: true\n"
        "total_batch_size: 16\neval_file:\nlr_scheduler_kwargs: {num_cycles: 2}\noutput_dir: out\n"
    )
    for flag in (["--config", str(config)], [f"--config={config}"]):
        settings, training = parsed(["--total_batch_size", "32", *flag])
        assert settings.train_file == ["a.jsonl", "b.jsonl=20"] and settings.eval_file is None
        assert (settings.total_batch_size, training.learning_rate, training.use_cpu) == (32, 3e-4, True)
        assert training.lr_scheduler_kwargs == {"num_cycles": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1", "no such settings: learning_rat;"),
        ("- a", "holds no settings"),
        ("a: [", "is no YAML"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, message):
    config = tmp_path / "a.yaml"
    if text is not None:
        config.write_text(text)
    with pytest.raises(UserError, match=message):
        with_flags_of_file(["--config", str(config)])


def test_a_config_flag_without_a_file():
    with pytest.raises(UserError, match="--config: no file named"):
        with_flags_of_file(["--config", "--use_cpu"])
