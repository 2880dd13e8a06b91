"""--config: a YAML file with the names of the flags, in their place; and settings that cannot be."""

import pytest
from transformers import HfArgumentParser

from open_instruct.core.errors import UserError
from open_instruct.training import settings as module
from open_instruct.training.settings import Settings, Training, refuse_what_cannot_be, with_flags_of_file


def parsed(arguments):
    return HfArgumentParser((Settings, Training)).parse_args_into_dataclasses(with_flags_of_file(arguments))


def test_a_file_wins_over_flags_before_it_and_flags_behind_it_win(tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text(
        "model_name_or_path: base\ntrain_file: [a.jsonl, b.jsonl=20]\nlearning_rate: 3e-4\nuse_cpu: true\n"
        "total_batch_size: 16\neval_file:\nlr_scheduler_kwargs: {num_cycles: 2}\noutput_dir: out\n"
    )
    for flag in (["--config", str(config)], [f"--config={config}"]):
        before = ["--train_file", "c.jsonl", "--learning_rate", "1", "--seed", "7"]  # as a script gives them
        settings, training = parsed([*before, *flag, "--total_batch_size", "32"])
        assert training.seed == 7
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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(num_train_epochs=0), "--num_train_epochs 0: expected more than 0"),
        (dict(report_to="wandb"), "--report_to wandb: the package wandb is not installed"),
        (dict(optim="adamw_8bit"), "--optim adamw_8bit needs bitsandbytes"),
    ],
)
def test_what_would_fail_late_is_refused_early(tmp_path, monkeypatch, given, message):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=message):
        refuse_what_cannot_be(Training(str(tmp_path), use_cpu=True, **{"report_to": "none", **given}))


@pytest.mark.parametrize("name", ["deepspeed", "fsdp_config"])
def test_a_configuration_that_is_not_there_is_one_line(tmp_path, name):
    with pytest.raises(UserError, match=f"--{name} missing.json: no such file; ours are in ds_configs/"):
        Training(str(tmp_path), use_cpu=True, **{name: "missing.json"})


def test_one_process_over_several_gpus_is_refused(tmp_path, monkeypatch):
    training = Training(str(tmp_path), use_cpu=True, report_to="none")
    refuse_what_cannot_be(training)
    monkeypatch.setattr(Training, "n_gpu", 8)
    with pytest.raises(UserError, match="sees 8 GPUs .*launch --nproc_per_node 8 -m open_instruct.finetune"):
        refuse_what_cannot_be(training)


def test_fsdp_needs_several_processes_and_checkpoints_in_its_own_way(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")  # which the settings turn on, for accelerate: undone at the end
    training = Training(str(tmp_path), use_cpu=True, report_to="none", fsdp=True, fsdp_config='{"version": 2}')
    assert training.fsdp_config["activation_checkpointing"] and not training.gradient_checkpointing
    with pytest.raises(UserError, match="--fsdp splits a model over several processes, and this is one"):
        refuse_what_cannot_be(training)
