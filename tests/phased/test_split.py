"""open_instruct/phased/split.py: stages by thresholds, by size and by chain length."""

import json
from collections import Counter

import pytest

from open_instruct.core.errors import UserError
from open_instruct.phased import plots, split, stages
from open_instruct.phased.split import Settings
from open_instruct.training.sources import Source, conversations


def scored_file(tmp_path, scores, name="scored.jsonl"):
    path = tmp_path / name
    rows = [
        {"id": n, "instruction": f"Task {n}", "input": "", "output": "word " * 4, "score": s}
        for n, s in enumerate(scores)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(tmp_path, path, **more):
    split.main(Settings(input_file=[str(path)], output_dir=str(tmp_path / "stages"), **more))
    return stage_rows(tmp_path / "stages")


def stage_rows(folder):
    return [[json.loads(line)["score"] for line in file.open()] for file in sorted(folder.glob("stage*.jsonl"))]


def test_a_score_at_a_threshold_belongs_to_the_stage_above(tmp_path):
    path = scored_file(tmp_path, [5, 1, 1.49, 1.5, 3.49, "3.5\n\n", 1])
    assert run(tmp_path, path) == [[1, 1.49, 1], [1.5, 3.49], [5, "3.5\n\n"]]
    summary = json.loads((tmp_path / "stages" / "stages.json").read_text())
    assert summary["borders"] == [1.5, 3.5]
    assert [stage["rows"] for stage in summary["stages"]] == [3, 2, 2]
    assert summary["stages"][2]["mean_difficulty"] == 4.25 and summary["stages"][2]["mean_tokens"] == 7


@pytest.mark.parametrize(("thresholds", "sizes"), [([3], [2, 3]), ([2, 3, 4, 5], [1, 1, 1, 1, 1])])
def test_any_number_of_thresholds(tmp_path, thresholds, sizes):
    found = run(tmp_path, scored_file(tmp_path, [1, 2, 3, 4, 5]), thresholds=thresholds)
    assert [len(stage) for stage in found] == sizes


def test_equal_sizes_put_the_easiest_first_and_tell_ties(tmp_path, capsys):
    found = run(tmp_path, scored_file(tmp_path, [3, 0.2, 3, 9, 3, 1, 7]), stages=3)
    assert found == [[0.2, 1], [3, 3], [3, 9, 7]] or [sorted(s) for s in found] == [[0.2, 1], [3, 3], [3, 7, 9]]
    assert "3 rows are as hard as a border" in capsys.readouterr().out


def test_random_stages_have_the_same_sizes_and_rows_and_not_the_same_order_of_difficulty(tmp_path):
    ordered = run(tmp_path, scored_file(tmp_path, [1] * 60 + [2] * 40 + [4] * 30))
    drawn = stage_rows(tmp_path / "stages" / "random")
    assert [len(stage) for stage in drawn] == [len(stage) for stage in ordered] == [60, 40, 30]
    assert Counter(sum(drawn, [])) == Counter(sum(ordered, []))
    assert len(set(drawn[0])) == len(set(drawn[2])) == 3


def test_stages_by_chain_length_hold_one_task_two_and_more(tmp_path):
    path = tmp_path / "sit.jsonl"
    options = [["D"], ["C", "D"], ["A", "C"], ["C", "B", "C"], [], ["B"]]
    rows = [{"instruction": f"T{n}", "output": "x", "options": o, "score": n} for n, o in enumerate(options)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(tmp_path, path, difficulty="chain_length") == [[0, 4], [1, 5], [2, 3]]


def test_fine_tuning_reads_a_stage_as_the_published_row_was(tmp_path):
    path = tmp_path / "published.jsonl"
    rows = [{"id": "1", "score": s, "data": ["Say hello.\nTo Bob", "Hello Bob"]} for s in ("1", "2", "5")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(tmp_path, path)
    ((messages, taken),) = conversations(Source(str(tmp_path / "stages" / "stage3.jsonl")), seed=0)
    assert [message["content"] for message in messages] == ["Say hello.\nTo Bob", "Hello Bob"] and taken == 1


@pytest.mark.parametrize(
    ("scores", "more", "message"),
    [
        ([4, 5], {}, "stage 1 \\(below 1.5\\) is empty: difficulties go from 4 to 5"),
        ([1, 5], {}, "stage 2 \\(1.5 to 3.5\\) is empty"),
        ([1, 2], {}, "stage 3 \\(from 3.5\\) is empty"),
        ([1, 0.3], {}, ":2: score 0.3 is not from 1 to 5"),
        ([1, None], {}, ":2: 'score' is None; expected a number"),
        ([1, 2], {"thresholds": [2, 2]}, "--thresholds 2 2: expected one or more numbers, each above the one before"),
        ([1, 2], {"stages": 3}, "--stages 3: expected from 2 to the number of rows, 2"),
        ([1, 2], {"stages": 2, "thresholds": [1.0]}, "give one of them"),
        ([1, 2], {"difficulty": "id"}, "--difficulty id has no usual thresholds"),
        ([1, 2], {"difficulty": "level"}, ":1: the row has no 'level'"),
    ],
)
def test_what_cannot_be_cut_is_one_line_and_leaves_nothing_that_could_be_trained_on(tmp_path, scores, more, message):
    with pytest.raises(UserError, match=message) as error:
        run(tmp_path, scored_file(tmp_path, scores), **more)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "stages" / "stages.json").exists()


def test_a_run_that_is_killed_while_writing_leaves_no_summary(tmp_path, monkeypatch):
    path = scored_file(tmp_path, [1, 2, 4])
    run(tmp_path, path)
    monkeypatch.setattr(split, "_keep_some", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, path)
    assert not (tmp_path / "stages" / "stages.json").exists()
    monkeypatch.undo()
    assert run(tmp_path, path) == [[1], [2], [4]]


def test_the_page_shows_density_cuts_and_examples(tmp_path):
    run(tmp_path, scored_file(tmp_path, [1, 2, 4, "4.5"]))
    page = (tmp_path / "stages" / "stages.html").read_text()
    assert page.count('class="cut"') == 2 and "Task 2" in page and "Published: Alpaca " in page
    drawing = (tmp_path / "stages" / "stages.svg").read_text()
    assert drawing.startswith('<svg xmlns="http://www.w3.org/2000/svg"') and "<style>" in drawing
    assert "30.3 k" in (tmp_path / "stages" / "stages.md").read_text()


def test_losses_are_not_cut_at_thresholds_of_grades(tmp_path):
    path = tmp_path / "rows.jsonl"
    row = {"instruction": "a", "input": "", "output": "b", "losses": {"loss": 2.5, "alone": 3.0, "tokens": 1}}
    path.write_text("".join(json.dumps(row | {"score": score}) + "\n" for score in (1.2, 2.5, 4.0)))
    with pytest.raises(UserError, match="score 1.2 is a base model's loss, so the published thresholds mean nothing"):
        run(tmp_path, path)
    run(tmp_path, path, stages=3)


def test_cuts_are_drawn_where_they_are():
    drawing = plots.density([1, 2, 3, 4, 5], [2, 4])
    places = [float(line.split('x1="')[1].split('"')[0]) for line in drawing.splitlines() if 'class="cut"' in line]
    middle = (46 + 460 - 46) / 2
    assert places[0] < middle < places[1] and places[0] + places[1] == pytest.approx(2 * middle, abs=0.2)


def test_the_published_rows_are_split_again_as_published(shared, tmp_path, capsys):
    path = shared / "data" / "train" / "phased" / "en-alpaca52k-stage3.jsonl"
    run(tmp_path, path, dry_run=True)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    ours = next(line for line in lines if line[:3] == ["3", "from", "3.5"])
    theirs = next(line for line in lines if line[:4] == ["3", "from", "3.5", "6.8"])
    assert ours[3:5] == ["6,889", "100.0%"] and float(ours[5]) == pytest.approx(float(theirs[6]), abs=0.01)
    assert float(ours[6]) == pytest.approx(float(theirs[7]), rel=0.05)  # 4 characters a token against Llama's
    assert not (tmp_path / "stages").exists()
    with pytest.raises(UserError, match="stage 1 .* is empty: difficulties go from 3.5 to 5"):
        run(tmp_path, path)


def test_borders_are_written_for_people():
    assert [stages.interval_of(n, (1.5, 3.5)) for n in (1, 2, 3)] == ["below 1.5", "1.5 to 3.5", "from 3.5"]
