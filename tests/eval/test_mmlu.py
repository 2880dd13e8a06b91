"""MMLU: one benchmark of many subjects, its figures by category and subject, and both forms of its files."""

import pytest
from lm_eval.tasks import TaskManager

from eval.benchmarks import TASKS_FOLDER, find
from eval.tasks.mmlu.mmlu import items, score
from open_instruct.core.errors import UserError

QUESTION = '"Which is, ""so to say"", {0}?",one,two,three,{1}\n'


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two subjects: one as released, one as the hub's copy has it."""
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    folder = tmp_path / "mmlu"
    for split, count in (("test", 3), ("dev", 5)):
        (folder / split).mkdir(parents=True)
        rows = [QUESTION.format(number, number) for number in range(count)]
        released = "".join(row.strip() + f",{'ABCD'[number % 4]}\n" for number, row in enumerate(rows))
        copied = "".join(row.strip() + f",{number % 4}\n" for number, row in enumerate(rows))
        (folder / split / f"anatomy_{split}.csv").write_text(released)
        header = "question,choice0,choice1,choice2,choice3,answer\n"
        (folder / split / f"astronomy_{split}.csv").write_text(header + copied)
    (folder / "test" / "astronomy_test.csv").write_text(header + copied.partition("\n")[0] + "\n")
    return folder


def load(name):
    (task,) = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False).load([name])["tasks"].values()
    return task


def test_both_forms_are_read_and_subjects_take_turns(data, capsys):
    rows = items("mmlu")["test"]
    assert [row["id"] for row in rows] == ["anatomy-0", "astronomy-0", "anatomy-1", "anatomy-2"]
    assert rows[2]["question"] == 'Which is, "so to say", 1?' and rows[2]["choices"] == ["one", "two", "three", "1"]
    assert [row["answer"] for row in rows] == [0, 0, 1, 2]
    told = capsys.readouterr().err
    assert "MMLU: 55 of 57 subjects are not in" in told and "virology" in told


def test_examples_are_of_the_items_subject_and_the_heading_names_it(data):
    (data / "dev" / "astronomy_dev.csv").write_text(
        "".join(QUESTION.format("far", "4").strip() + ",B\n" for _ in range(5))
    )
    task = load("mmlu_5shot")
    prompt = task.fewshot_context(task.eval_docs[1], 5)
    assert prompt.startswith("The following are multiple choice questions (with answers) about astronomy.\n\nWhich is,")
    assert prompt.count('"so to say", far?\nA. one\nB. two\nC. three\nD. 4\nAnswer: B\n\n') == 5
    assert prompt.endswith('"so to say", 0?\nA. one\nB. two\nC. three\nD. 0\nAnswer:')
    with pytest.raises(UserError, match=r"astronomy_dev\.csv: 6 examples asked for, there are 5: --num_fewshot 5"):
        task.fewshot_context(task.eval_docs[1], 6)


def test_an_item_counts_for_all_its_category_and_its_subject():
    item = {"answer": 1, "category": "stem", "subject": "anatomy"}
    assert score(item, [(-3.0, False), (-2.0, False), (-2.5, True), (-9.0, False)]) == {
        "acc": 1.0,
        "acc_stem": 1.0,
        "acc_anatomy": 1.0,
    }
    assert score(item, [(-2.0, False), (-2.0, False), (-2.5, True), (-9.0, False)])["acc"] == 0.0  # the first of equals


def test_only_the_figure_over_all_stands_in_tables():
    manager = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False)
    for benchmark in find(["mmlu"], [TASKS_FOLDER], manager):
        assert [metric.name for metric in benchmark.metrics if metric.title] == ["acc"]
        assert len(benchmark.metrics) == 1 + 4 + 57 and not benchmark.chat_template


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        (
            "test/anatomy_test.csv",
            "question,one,two,three,four,E\n",
            r"anatomy_test\.csv: row 1: expected question, four",
        ),
        ("test/anatomy_test.csv", "question,one,two,A\n", r"row 1: expected"),
        ("test/anatomy_test.csv", "", "no questions in it"),
        (
            "test/alchemy_test.csv",
            "question,one,two,three,four,A\n",
            "'alchemy' is no subject of MMLU; there are: abstract",
        ),
        ("dev/anatomy_dev.csv", None, r"anatomy_dev\.csv: the evaluation data is not there"),
        ("dev/anatomy_dev.csv", b"\xff\xfe", r"anatomy_dev\.csv: not a table in UTF-8"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(data, file, text, problem):
    path = data / file
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=problem):
        load("mmlu_0shot")


def test_without_any_file_the_first_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"abstract_algebra_test\.csv: the evaluation data is not there"):
        items("mmlu")
