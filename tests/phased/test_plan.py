"""open_instruct/phased/plan.py: what run.sh trains after what."""

import json

import pytest

from open_instruct.core.errors import UserError
from open_instruct.phased.plan import Settings, trainings


@pytest.fixture
def folder(tmp_path):
    for name in ("", "random/"):
        for stage in (1, 2, 3):
            path = tmp_path / f"{name}stage{stage}.jsonl"
            path.parent.mkdir(exist_ok=True)
            path.write_text("{}\n")
    files = [{"file": f"stage{stage}.jsonl"} for stage in (1, 2, 3)]
    (tmp_path / "stages.json").write_text(json.dumps({"stages": files}))
    return tmp_path


def planned(folder, **more):
    found = trainings(Settings(stages_dir=str(folder), **more))
    return [(one.name, [str(path.relative_to(folder)).removesuffix(".jsonl") for path in one.files]) for one in found]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, [("1", ["stage1"]), ("1-2", ["stage2"]), ("1-2-3", ["stage3"])]),
        ({"order": "3-1-2"}, [("3", ["stage3"]), ("3-1", ["stage1"]), ("3-1-2", ["stage2"])]),
        ({"one_off": True}, [("1+2+3", ["stage1", "stage2", "stage3"])]),
        ({"only": "3"}, [("3", ["stage3"])]),
        ({"mix": "2,1"}, [("1+2", ["stage1", "stage2"])]),
        (
            {"random_stages": True},
            [
                ("random-1", ["random/stage1"]),
                ("random-1-2", ["random/stage2"]),
                ("random-1-2-3", ["random/stage3"]),
            ],
        ),
    ],
)
def test_the_controls_of_the_publication(folder, more, expected):
    assert planned(folder, **more) == expected


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"order": "3-1-1"}, "ORDER=3-1-1: stage 1 stands twice"),
        ({"order": "1-2-4"}, "ORDER=1-2-4: there is no stage 4; there are 1 to 3"),
        ({"order": "0-1-2"}, "there is no stage 0"),
        ({"order": "3-1"}, "ORDER=3-1 leaves out stage 2; expected all 3 stages, such as 3-1-2"),
        ({"order": "1,2,3"}, "ORDER=1,2,3: expected numbers of stages, such as 3-1-2"),
        ({"only": "2-3"}, "ONLY=2-3: expected numbers of stages, such as 3"),
        ({"mix": "2"}, "MIX=2: expected numbers of stages, such as 1,2"),
        ({"mix": "2,2"}, "MIX=2,2: stage 2 stands twice"),
        ({"mix": "1,2", "one_off": True}, "MIX and ONE_OFF: each is a way of its own"),
        ({"random_stages": True, "only": "1"}, "RANDOM_STAGES and ONLY"),
    ],
)
def test_a_wrong_order_or_control_is_one_line(folder, more, message):
    with pytest.raises(UserError) as error:
        planned(folder, **more)
    assert str(error.value).startswith(message) or message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_stage_a_missing_one_and_a_folder_without_stages_are_one_line(folder):
    (folder / "stage2.jsonl").write_text("")
    with pytest.raises(UserError, match="stage2.jsonl: the stage is empty"):
        planned(folder)
    (folder / "stage2.jsonl").unlink()
    with pytest.raises(UserError, match="stage2.jsonl: no such stage file"):
        planned(folder)
    (folder / "stages.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as a summary"):
        planned(folder)
    (folder / "stages.json").unlink()
    with pytest.raises(UserError, match="cut the rows into stages first: bash scripts/phased/split.sh"):
        planned(folder)
