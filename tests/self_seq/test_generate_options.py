"""What stage 1 can do beside its plain run: separate inputs, set the number of tasks, screen, judge, sample, report."""

import json

import pytest

from open_instruct.core import asking
from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows, write_rows
from open_instruct.engines import oracle
from open_instruct.engines.base import Completion
from open_instruct.miniature.make_data import training_rows
from open_instruct.miniature.world import read_instruction, solve
from self_seq.generate import Settings, main


def read(path):
    return [row for _, row in read_rows(path, may_be_empty=True)]


def generate(folder, rows, **settings):
    write_rows(folder / "in.jsonl", rows)
    main(Settings(str(folder / "in.jsonl"), str(folder / "out"), **settings))
    names = ("it", "sit", "rejected")
    statistics = json.loads((folder / "out" / "statistics.json").read_text())
    return *(read(folder / "out" / f"{name}.jsonl") for name in names), statistics


def right(row):
    """Whether a row's output is the right answer to its instruction, wherever the list stands in it."""
    lines = [line for line in f"{row['instruction']}\n{row['input']}".splitlines() if line.strip()]
    instruction = next(line for line in lines if read_instruction(line))
    words = next(line for line in lines if line is not instruction)
    return row["output"] == "\n".join(solve(instruction, words.split()))


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_input_in_the_instructions_text_is_separated_and_stands_there_again(tmp_path, side):
    plain = list(training_rows(60, seed=0))
    texts = [
        f"{row['input']}\n\n{row['instruction']}" if side == "left" else f"{row['instruction']}\n{row['input']}"
        for row in plain
    ]
    it, sit, rejected, _ = generate(tmp_path, [{"instruction": text} for text in texts], extract=True)
    assert [row["instruction"] for row in it] == texts and rejected == []
    changed = 0
    for before, row in zip(plain, sit, strict=True):
        assert row["input"] == "" and right(row)
        lines = row["instruction"].splitlines()
        assert (lines[0] if side == "left" else lines[-1]) == before["input"]
        assert row["original_instruction"] == texts[row["id"]]
        changed += row["instruction"] != row["original_instruction"]
    assert changed > 20


def test_rows_that_have_an_input_are_not_asked_for_one(tmp_path):
    generate(tmp_path, training_rows(20, seed=0), extract=True)
    assert len((tmp_path / "out" / "extract.journal.jsonl").read_text().splitlines()) == 1  # what it is about


def test_an_input_that_the_generator_makes_up_leaves_the_row_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(oracle, "_extract", lambda asked: "#Instruction#: Count.\n#Input#: made up###")
    monkeypatch.setattr(oracle, "_respond", lambda asked: "two")
    rows = [{"instruction": f"{row['instruction']}\n{row['input']}"} for row in training_rows(10, seed=0)]
    it, sit, rejected, _ = generate(tmp_path, rows, extract=True)
    assert [row["instruction"] for row in it] == [row["instruction"] for row in rows]
    assert len(sit) == len(rejected) == 10
    assert all("no part of the text" in row["failures"][0]["reason"] for row in rejected)


def test_a_blank_input_is_none(tmp_path):
    row = next(iter(training_rows(1, seed=0)))
    text = f"{row['instruction']}\n{row['input']}"
    it, sit, *_ = generate(tmp_path, [{"instruction": text, "input": " \n"}], extract=True)
    assert len((tmp_path / "out" / "extract.journal.jsonl").read_text().splitlines()) == 2
    assert it[0]["instruction"] == text and it[0]["input"] == sit[0]["input"] == ""


def test_every_instruction_gets_the_number_of_tasks_asked_for(tmp_path):
    long = {"instruction": "First reverse the list, then count the items, then name the first item.", "input": "fig"}
    it, sit, rejected, statistics = generate(tmp_path, [*training_rows(80, seed=0), long], num_tasks=3)
    assert {len(read_instruction(row["instruction"])) for row in sit} == {3}
    assert sit[-1]["instruction"] == long["instruction"]  # it holds them already
    assert rejected == [] and all(map(right, sit))
    assert statistics["published"] is None and statistics["rows_by_tasks"] == {"3": 81}


def test_the_judge_counts_tasks_before_and_after(tmp_path):
    _, sit, _, statistics = generate(tmp_path, training_rows(100, seed=0), judge_rows=30)
    judged = statistics["judge"]
    assert judged["rows"] == 30 == sum(judged["tasks_before"].values()) == sum(judged["tasks_after"].values())
    assert judged["longer"] == 30 and judged["unreadable"] == 0 and judged["engine"] == "oracle"
    assert set(judged["tasks_after"]) == {"2", "3"}


def test_a_larger_sample_for_the_judge_asks_only_about_the_new_rows_and_a_smaller_one_about_none(tmp_path):
    rows = list(training_rows(100, seed=0))
    journal = tmp_path / "out" / "judge.journal.jsonl"
    generate(tmp_path, rows, judge_rows=20)
    before = journal.read_bytes()
    *_, more = generate(tmp_path, rows, judge_rows=30)
    assert journal.read_bytes().startswith(before) and len(journal.read_bytes().splitlines()) == 1 + 2 * 30
    assert more["judge"]["rows"] == 30 == sum(more["judge"]["tasks_after"].values())
    *_, fewer = generate(tmp_path, rows, judge_rows=10)
    assert fewer["judge"]["rows"] == 10
    *_, none = generate(tmp_path, rows)
    assert none["judge"] is None and len(journal.read_bytes().splitlines()) == 1 + 2 * 30


def test_another_judges_tokens_are_not_paid_at_the_generators_prices(tmp_path):
    rows = list(training_rows(50, seed=0))
    *_, alone = generate(tmp_path, rows, price_in=1000)
    *_, judged = generate(tmp_path, rows, price_in=1000, judge_rows=10, judge_engine="oracle")
    assert judged["tokens"]["judge"]["in"] > 0 and judged["cost"] == alone["cost"]


def test_another_judge_may_count(tmp_path):
    settings = {"judge_rows": 10, "judge_engine": "oracle", "judge_engine_options": ["grow=0.1"]}
    *_, statistics = generate(tmp_path, training_rows(50, seed=0), **settings)
    assert statistics["judge"]["rows"] == 10


def test_near_duplicates_are_dropped_with_their_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(oracle, "_respond", lambda asked: "Dear Sir")
    rows = list(training_rows(40, seed=0))
    text = "Write a letter to the landlord about the tap in the kitchen that has been dripping since last week, please"
    again = [{"instruction": f"{text}.", "output": "x"}, {"instruction": f"{text}!", "output": "x"}]
    it, sit, rejected, statistics = generate(tmp_path, [*rows, *again], near_duplicates=0.8)
    assert len(it) == len(sit) == 41
    assert [row["row"] for row in rejected if row["dropped"]] == [41]
    assert "40" in rejected[-1]["failures"][0]["reason"]  # the row that it repeats
    assert sum(statistics["rows_screened"].values()) == 1
    assert statistics["rows_in"] == 42 == statistics["rows_written"] + statistics["rows_dropped"]


def test_what_the_oracle_does_not_know_is_never_a_training_target(tmp_path):
    it, _, rejected, _ = generate(tmp_path, [*training_rows(5, seed=0), {"instruction": "Name a river."}])
    assert len(it) == 5
    assert "the oracle knows the miniature world only" in rejected[-1]["failures"][-1]["reason"]


def test_a_finished_folder_starts_no_engine(tmp_path, monkeypatch):
    generate(tmp_path, training_rows(20, seed=0), judge_rows=5)

    def refuse(settings):
        raise AssertionError("nothing is left to ask")

    monkeypatch.setattr(oracle, "Engine", refuse)
    main(Settings(str(tmp_path / "in.jsonl"), str(tmp_path / "out"), judge_rows=5))


def test_the_evaluation_sets_count_by_their_content_and_not_by_their_place(tmp_path):
    text = "the quick brown fox jumps over the lazy dog while nine wet cats look on from afar"
    write_rows(tmp_path / "test.jsonl", [{"question": text}])
    generate(tmp_path, training_rows(10, seed=0), decontaminate=[str(tmp_path / "test.jsonl")])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "test.jsonl").rename(tmp_path / "elsewhere" / "test.jsonl")
    settings = {"input_file": str(tmp_path / "in.jsonl"), "output_dir": str(tmp_path / "out")}
    main(Settings(**settings, decontaminate=[str(tmp_path / "elsewhere")]))
    write_rows(tmp_path / "elsewhere" / "test.jsonl", [{"question": text.replace("fox", "hen")}])
    with pytest.raises(UserError, match="evaluation_sets"):
        main(Settings(**settings, decontaminate=[str(tmp_path / "elsewhere")]))


def test_rows_of_an_evaluation_set_are_dropped(tmp_path):
    question = "Tom has seven green apples and gives three of them to each of his two little sisters today"
    write_rows(tmp_path / "test.jsonl", [{"question": question}])
    rows = [*training_rows(20, seed=0), {"instruction": f"Solve this. {question}. How many are left?"}]
    it, _, rejected, _ = generate(tmp_path, rows, decontaminate=[str(tmp_path / "test.jsonl")])
    assert len(it) == 20
    assert [row["row"] for row in rejected if row["dropped"]] == [20]
    assert "test.jsonl" in rejected[0]["failures"][0]["reason"]


def test_an_answer_that_holds_evaluation_text_is_dropped(tmp_path, monkeypatch):
    text = "the quick brown fox jumps over the lazy dog while nine wet cats look on from afar"
    write_rows(tmp_path / "test.jsonl", [{"question": text}])
    monkeypatch.setattr(oracle, "_respond", lambda asked: text if "reverse" in asked.lower() else "fine")
    rows = list(training_rows(60, seed=0))
    it, sit, rejected, _ = generate(tmp_path, rows, decontaminate=[str(tmp_path / "test.jsonl")])
    assert 0 < len(it) == len(sit) < 60
    assert not any(row["output"] == text for row in it + sit)
    assert len(sit) + sum(row["dropped"] for row in rejected) == 60


def test_a_refusal_is_asked_again_and_never_written(tmp_path, monkeypatch):
    respond = oracle._respond
    monkeypatch.setattr(
        oracle,
        "_respond",
        lambda asked: "I'm sorry, but I can't assist with that." if "kiwi" in asked else respond(asked),
    )
    rows = list(training_rows(60, seed=0))
    it, _, rejected, _ = generate(tmp_path, rows)
    refused = [row for row in rejected if row["dropped"]]
    assert len(refused) == sum("kiwi" in row["input"] for row in rows) > 0
    assert all(row["failures"][-1]["reason"].startswith("refuses to answer") for row in refused)
    assert len(it) + len(refused) == 60


def test_a_rewriting_that_loses_a_number_is_asked_again_and_then_kept_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(oracle, "_rewrite", lambda *_: "#New Instruction#: Name some rivers, then order them.###")
    monkeypatch.setattr(oracle.Engine, "_classify", lambda *_, **__: "So the option is: C.")
    rows = [{"instruction": f"Name {n} rivers."} for n in (12, 15)]
    monkeypatch.setattr(oracle, "_respond", lambda asked: "Nile")
    _, sit, rejected, _ = generate(tmp_path, rows)
    assert [row["instruction"] for row in sit] == ["Name 12 rivers.", "Name 15 rivers."]
    assert [row["options"] for row in sit] == [["D"], ["D"]]
    reasons = [row["failures"][0]["reason"] for row in rejected]
    assert all("number" in reason for reason in reasons) and len(reasons) == 2


def test_a_cut_off_or_empty_answer_is_never_written(tmp_path, monkeypatch):
    complete = oracle.Engine.complete

    def cut(self, requests):
        for done in complete(self, requests):
            bad = ("length" if done.key % 2 else "stop", done.text if done.key % 2 else "")
            yield Completion(done.key, bad[1], bad[0], 1, 1) if done.key < 10 else done

    monkeypatch.setattr(oracle.Engine, "complete", cut)
    it, sit, rejected, _ = generate(tmp_path, training_rows(30, seed=0))
    assert [row["id"] for row in it] == [row["id"] for row in sit] == list(range(10, 30))
    reasons = {failure["reason"] for row in rejected for failure in row["failures"]}
    assert reasons == {"cut off at the token limit", "empty answer"}


def test_a_rows_system_prompt_is_sent_and_written(tmp_path, monkeypatch):
    seen = []
    complete = oracle.Engine.complete

    def watched(self, requests):
        def look():
            for request in requests:
                seen.append((request.step, request.messages[0]))
                yield request

        return complete(self, look())

    monkeypatch.setattr(oracle.Engine, "complete", watched)
    rows = [{**row, "system_prompt": "Be brief."} for row in training_rows(10, seed=0)]
    it, sit, *_ = generate(tmp_path, rows)
    assert all(row["system_prompt"] == "Be brief." for row in it + sit)
    told = [message["content"] for step, message in seen if step.startswith("respond")]
    assert told and set(told) == {"Be brief."}


def test_a_sample_is_drawn_by_the_seed_and_keeps_its_row_numbers(tmp_path):
    it, sit, _, statistics = generate(tmp_path, training_rows(100, seed=0), sample_rows=25, seed=7)
    ids = [row["id"] for row in sit]
    assert len(ids) == 25 == len(it) == statistics["rows_in"] and ids == sorted(ids) and ids != list(range(25))
    journal = (tmp_path / "out" / "iteration_1" / "classify.journal.jsonl").read_text().splitlines()[1:]
    assert sorted(json.loads(line)["row"] for line in journal) == ids


def test_options_are_printed_beside_the_published_ones(tmp_path, capsys):
    generate(tmp_path, training_rows(50, seed=0))
    lines = capsys.readouterr().out.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("iteration 1:"))
    assert "A 24.50 %  B 51.24 %  C  7.41 %  D 16.85 %" in lines[place + 1]
    assert max(map(len, lines[place : place + 2])) <= 90


def test_tokens_of_bad_answers_count(tmp_path):
    *_, first = generate(tmp_path, training_rows(50, seed=0))
    (tmp_path / "bad").mkdir()
    *_, second = generate(tmp_path / "bad", training_rows(50, seed=0), engine_options=["malformed=0.4"])
    assert second["tokens"]["classify"]["in"] > first["tokens"]["classify"]["in"]
    assert second["spent"]["classify"]["tokens_in"] == second["tokens"]["classify"]["in"]


def test_what_was_spent_before_a_kill_counts(tmp_path, monkeypatch):
    rows, settings = list(training_rows(80, seed=0)), {"engine_options": ["malformed=0.2"], "price_in": 1000}
    (tmp_path / "whole").mkdir()
    *_, whole = generate(tmp_path / "whole", rows, **settings)
    monkeypatch.setattr(asking, "NOTE_SECONDS", 0)
    for step, answers in (("classify", 40), ("rewrite", 20), ("respond_it", 50)):
        with monkeypatch.context() as killed, pytest.raises(RuntimeError, match="killed"):
            killed.setattr(oracle.Engine, "complete", dying(step, answers))
            generate(tmp_path, rows, **settings)
    *_, resumed = generate(tmp_path, rows, **settings)
    assert resumed["spent"].keys() == whole["spent"].keys()
    for step, spent in whole["spent"].items():
        assert resumed["spent"][step]["answers"] >= spent["answers"]  # a bad answer on its way may be asked again
    assert resumed["spent"]["respond_sit"]["tokens_in"] == whole["spent"]["respond_sit"]["tokens_in"]
    assert resumed["seconds"] == round(sum(spent["seconds"] for spent in resumed["spent"].values()), 3) > 0
    assert resumed["iterations"] == whole["iterations"] and resumed["rows_written"] == whole["rows_written"]
    *_, again = generate(tmp_path, rows, **settings)  # nothing is asked: nothing is spent
    assert again == resumed


def dying(step, answers):
    """`Engine.complete` that stops after so many answers of a step."""
    complete = oracle.Engine.complete

    def dies(self, requests):
        given = 0
        for done in complete(self, seen := Watched(requests)):
            if seen.step == step and (given := given + 1) > answers:
                raise RuntimeError("killed")
            yield done

    return dies


class Watched:
    """Requests that pass by; `step` is that of the last one."""

    def __init__(self, requests):
        self.requests, self.step = requests, ""

    def __iter__(self):
        for request in self.requests:
            self.step = request.step
            yield request


def test_the_report_and_the_card_are_there(tmp_path):
    generate(tmp_path, training_rows(50, seed=0), judge_rows=5, source_name="miniature", source_license="apache-2.0")
    assert "<html" in (tmp_path / "out" / "report.html").read_text()
    assert "license: apache-2.0" in (tmp_path / "out" / "README.md").read_text()


def test_a_changed_prompt_is_refused_before_run_json_says_anything(tmp_path):
    import shutil

    from self_seq.prompts import FOLDER

    shutil.copytree(FOLDER, tmp_path / "prompts")
    generate(tmp_path, training_rows(20, seed=0), prompts=str(tmp_path / "prompts"))
    before = (tmp_path / "out" / "run.json").read_bytes()
    (tmp_path / "prompts" / "respond.yaml").open("a").write("# changed\n")
    with pytest.raises(UserError, match="respond_it.journal.jsonl.*prompts"):
        main(Settings(str(tmp_path / "in.jsonl"), str(tmp_path / "out"), prompts=str(tmp_path / "prompts")))
    assert (tmp_path / "out" / "run.json").read_bytes() == before


def test_only_the_prompts_of_the_steps_that_run_are_needed(tmp_path):
    import shutil

    from self_seq.prompts import FOLDER

    needed = ["classify", "rewrite_decompose", "rewrite_prefix", "rewrite_suffix", "respond"]
    (tmp_path / "prompts").mkdir()
    for name in needed:
        shutil.copy(FOLDER / f"{name}.yaml", tmp_path / "prompts")
    settings = {"prompts": str(tmp_path / "prompts")}
    _, sit, *_ = generate(tmp_path, training_rows(20, seed=0), **settings)
    assert len(sit) == 20
    main(Settings(str(tmp_path / "in.jsonl"), str(tmp_path / "dry"), dry_run=True, **settings))
    for more, missing in (
        ({"extract": True}, "extract"),
        ({"judge_rows": 5}, "count_tasks"),
        ({"num_tasks": 2}, "count_tasks"),
        ({"refine": True}, "refine"),
    ):
        with pytest.raises(UserError, match=f"{missing}.yaml: no such prompt file"):
            main(Settings(str(tmp_path / "in.jsonl"), str(tmp_path / "other"), **settings, **more))
