"""Benchmarks are found by name, and described by their YAML alone."""

import pytest
from lm_eval.tasks import TaskManager

from eval.benchmarks import TASKS_FOLDER, Cluster, find
from open_instruct.core.errors import UserError


def manager(*folders):
    return TaskManager(include_path=[str(folder) for folder in folders], include_defaults=False)


def test_a_group_stands_for_its_tasks_and_each_comes_once():
    found = find(["miniature_chains", "miniature"], [TASKS_FOLDER], manager(TASKS_FOLDER))
    assert [one.name.removeprefix("miniature_") for one in found] == ["chains", "single", "pairs", "longer"]
    assert [one.short for one in sorted(found, key=lambda one: one.order)] == ["single", "pairs", "chains", "longer"]
    for one in found:
        assert one.title and one.about and one.version
        assert one.cluster == Cluster(field="steps", name="task combinations")
        assert [metric.name for metric in one.metrics if metric.title] == ["all_steps", "steps_followed"]
        assert [metric.position for metric in one.metrics if metric.position] == [1, 2, 3, 4]


@pytest.mark.parametrize("names", [["miniatur"], []])
def test_an_unknown_task_is_told_with_those_there_are(names):
    with pytest.raises(UserError, match=r"there are: .*miniature, .*miniature_single"):
        find(names, [TASKS_FOLDER], manager(TASKS_FOLDER))


def test_data_prompt_and_scoring_are_in_the_fingerprint(eval_data, tmp_path):
    folder = tmp_path / "tasks" / "mine"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("task: mine\ndataset_kwargs: {file: miniature/pairs.jsonl}\n")

    def prints():
        (one,) = find(["mine"], [folder], manager(folder))
        return one.fingerprint()

    first = prints()
    (folder / "scoring.py").write_text("# another rule\n")
    second = prints()
    assert second["task"] != first["task"] and second["data"] == first["data"]
    with (eval_data / "miniature" / "pairs.jsonl").open("a") as file:
        file.write("\n")
    assert prints()["data"] != second["data"]


@pytest.mark.parametrize("cluster", ["steps", "{field: steps}", "{}"])
def test_a_cluster_without_field_and_name_is_refused(tmp_path, cluster):
    (tmp_path / "odd.yaml").write_text(f"task: odd\nmetadata: {{cluster: {cluster}}}\n")
    with pytest.raises(UserError, match=r"odd\.yaml: metadata\.cluster must be \{field: "):
        find(["odd"], [tmp_path], manager(tmp_path))


def test_a_metric_that_is_no_mean_over_items_is_refused(tmp_path):
    (tmp_path / "odd.yaml").write_text("task: odd\nmetric_list: [{metric: f1, aggregation: f1}]\n")
    with pytest.raises(UserError, match="metric f1: aggregation must be mean"):
        find(["odd"], [tmp_path], manager(tmp_path))


def test_a_metric_says_its_unit_and_is_a_share_otherwise(tmp_path):
    (tmp_path / "odd.yaml").write_text("task: odd\nmetric_list: [{metric: quality, unit: score}, {metric: right}]\n")
    (found,) = find(["odd"], [tmp_path], manager(tmp_path))
    assert [metric.unit for metric in found.metrics] == ["score", "share"]
    (tmp_path / "odd.yaml").write_text("task: odd\nmetric_list: [{metric: length, unit: miles}]\n")
    with pytest.raises(UserError, match=r"odd\.yaml: metric length: no unit named 'miles'; there are: share, "):
        find(["odd"], [tmp_path], manager(tmp_path))


@pytest.mark.parametrize("name", ["../../out", "a/b", "/tmp/out", "..", '"line\\nend"'])
def test_a_task_whose_results_would_lie_elsewhere_is_refused(tmp_path, name):
    (tmp_path / "odd.yaml").write_text(f"task: {name}\n")
    (found,) = manager(tmp_path).all_tasks
    with pytest.raises(UserError, match=r"odd\.yaml: task '.*' names its results' folder"):
        find([found], [tmp_path], manager(tmp_path))
