"""A dry run: its numbers against those of the run itself, and what it says where something is not known."""

import json

import pytest

from open_instruct.core.command import run
from open_instruct.core.records import write_rows
from open_instruct.miniature.make_data import training_rows
from self_seq.generate import Settings, main


@pytest.fixture
def source(tmp_path):
    write_rows(tmp_path / "in.jsonl", training_rows(200, seed=0))
    return tmp_path / "in.jsonl"


def dry(source, folder, capsys, *more):
    capsys.readouterr()
    run(main, Settings, arguments=[f"--input_file={source}", f"--output_dir={folder}", "--dry_run=True", *more])
    return capsys.readouterr().out


def requests(text):
    """Requests by the label of their line."""
    lines = [line for line in text.splitlines() if line[:1].isalpha()]
    return {line[:26].strip(): int(line[26:38].replace(",", "")) for line in lines if line[26:38].strip().isdigit()}


def test_nothing_is_asked_or_written(source, tmp_path, capsys):
    text = dry(source, tmp_path / "out", capsys)
    assert "200 rows; nothing is asked" in text
    assert not (tmp_path / "out").exists()
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("- "))


def test_with_the_figures_of_a_finished_run_it_tells_that_run(source, tmp_path, capsys):
    main(Settings(str(source), str(tmp_path / "run")))
    statistics = json.loads((tmp_path / "run" / "statistics.json").read_text())
    text = dry(source, tmp_path / "out", capsys, f"--measured_run={tmp_path / 'run'}")
    planned = requests(text)
    done = {step: tokens["answers"] for step, tokens in statistics["tokens"].items()}
    assert planned["respond to originals"] == done["respond_it"] == 200
    assert planned["respond to sequences"] == done["respond_sit"]
    for step in ("classify", "rewrite"):
        assert abs(planned[f"iteration 1: {step}"] + planned[f"iteration 2: {step}"] - done[step]) <= 1
    assert "time: about" in text


def test_cost_is_tokens_at_the_given_prices(source, tmp_path, capsys):
    def cost_of_all(*prices):
        text = dry(source, tmp_path / "out", capsys, *prices)
        return float(next(line for line in text.splitlines() if line.startswith("all ")).split()[-1].replace(",", ""))

    only_in, only_out = cost_of_all("--price_in=10"), cost_of_all("--price_out=10")
    assert only_in > 0 and only_out > 0
    assert cost_of_all("--price_in=10", "--price_out=10") == pytest.approx(only_in + only_out, abs=0.02)


def test_time_is_not_known_without_a_rate_and_follows_from_one(source, tmp_path, capsys):
    assert "time: not known" in dry(source, tmp_path / "out", capsys)
    assert "time: about" in dry(source, tmp_path / "out", capsys, "--tokens_per_second=100")


def test_more_steps_are_more_lines(source, tmp_path, capsys):
    text = dry(source, tmp_path / "out", capsys, "--refine=True", "--num_tasks=3", "--judge_rows=20")
    planned = requests(text)
    assert planned["count the tasks"] == planned["iteration 1: classify"] == planned["iteration 2: rewrite"] == 200
    assert planned["judge"] == 40


def test_a_step_that_the_measured_run_did_not_do_leaves_the_time_known(source, tmp_path, capsys):
    main(Settings(str(source), str(tmp_path / "run")))
    text = dry(
        source, tmp_path / "out", capsys, f"--measured_run={tmp_path / 'run'}", "--refine=True", "--extract=True"
    )
    assert "extract the input" in text and "time: about" in text  # no row lacks an input


def test_it_says_what_it_does_not_count(source, tmp_path, capsys):
    assert "screening" not in dry(source, tmp_path / "out", capsys)
    judge = ("--judge_engine=openai", "--judge_engine_options", "model=judge")
    text = dry(source, tmp_path / "out", capsys, "--near_duplicates=0.8", "--judge_rows=5", *judge)
    assert "the screening drops" in text and "engine openai, is not counted" in text


def test_a_folder_without_statistics_is_one_line(source, tmp_path):
    arguments = [f"--input_file={source}", f"--output_dir={tmp_path}", "--dry_run=True", f"--measured_run={tmp_path}"]
    with pytest.raises(SystemExit, match="error: .*statistics.json: is no statistics of a finished run"):
        run(main, Settings, arguments=arguments)
