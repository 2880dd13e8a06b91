"""What each source makes of a row in its own format, and that every source keeps the contract."""

import gzip
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from open_instruct import reformat
from open_instruct.core.errors import UserError
from open_instruct.reformat._convert import Counts, convert
from open_instruct.reformat._files import find
from open_instruct.reformat.base import Rejected

SOURCES = """super_ni cot flan_v2 dolly oasst1 self_instruct unnatural_instructions stanford_alpaca code_alpaca
gpt4_alpaca sharegpt baize lima wizardlm open_orca alpaca_cleaned alpaca_multilingual flancot seqins""".split()


def converted(name, *paths, **options):
    """The conversations of files, what was rejected, and the counts, which must add up."""
    counts = Counts()
    results = list(convert(name, reformat.module(name), [Path(path) for path in paths], counts, **options))
    rejected = [result for result in results if isinstance(result, Rejected)]
    conversations = [result for result in results if not isinstance(result, Rejected)]
    assert counts.examples == counts.written + counts.rejected == len(results)
    assert (counts.written, counts.rejected) == (len(conversations), len(rejected))
    assert all(conversation.dataset == name for conversation in conversations)
    return conversations, rejected, counts


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def talk(conversation):
    """The texts of a conversation, user and assistant by turns, with its system message in front."""
    return [message["content"] for message in conversation.messages]


def test_every_source_of_the_tulu_and_sit_recipes_is_there():
    assert set(SOURCES) <= set(reformat.names())


@pytest.mark.parametrize("name", reformat.names())
def test_a_source_says_what_it_is_and_where_it_comes_from(name):
    module = reformat.module(name)
    source = module.SOURCE
    assert source.about and source.licence and source.page.startswith("https://")
    assert module.__doc__ and module.FORMS and all(module.FORMS)
    assert len({file.name for file in source.files}) == len(source.files) > 0
    assert bool(source.published) == bool(source.published_in)
    for file in source.files:
        assert file.url == "" or file.url.startswith("https://")
        assert len(file.sha256) in (0, 64) and "/" not in file.name


def test_an_unknown_source_names_those_there_are():
    with pytest.raises(UserError, match="no source named 'doly'; there are: alpaca_cleaned, .* dolly, "):
        reformat.module("doly")


INSTRUCTION = {"instruction": "Name a colour.", "input": "", "output": "Red."}


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("dolly", {"instruction": "Sum it up.", "context": "A long text.", "response": "Short.", "category": "x"}),
        ("dolly", {"instruction": "Sum it up.", "input": "A long text.", "output": "Short.", "category": "x"}),
        ("stanford_alpaca", {"instruction": "Sum it up.", "input": "A long text.", "output": "Short."}),
        ("code_alpaca", {"instruction": "Sum it up.", "input": "A long text.", "output": "Short."}),
        ("gpt4_alpaca", {"instruction": "Sum it up.", "input": "A long text.", "output": "Short."}),
        ("self_instruct", {"instruction": "Sum it up.", "input": "A long text.", "output": "Short."}),
        ("self_instruct", {"instruction": "Sum it up.", "instances": [{"input": "A long text.", "output": "Short."}]}),
        (
            "unnatural_instructions",
            {
                "instruction": "Sum it up.",
                "instances": [{"input": "A long text.", "constraints": "None.", "output": "Short."}],
            },
        ),
    ],
)
def test_instruction_rows_get_a_template_around_their_texts(name, row, tmp_path):
    (conversation,), rejected, _ = converted(name, jsonl(tmp_path / "rows.jsonl", row))
    prompt, answer = talk(conversation)
    assert prompt.index("Sum it up.") < prompt.index("A long text.")
    assert answer.strip() == "Short."
    assert (conversation.id, rejected) == (f"{name}_0", [])


@pytest.mark.parametrize("name", ["alpaca_cleaned", "seqins", "flancot"])
def test_stage_1s_rows_keep_their_own_layout(name, tmp_path):
    row = {"instruction": "Sum it up.", "input": "A text.", "output": "Short.", "system_prompt": "Be brief.", "idx": 7}
    (conversation,), _, _ = converted(name, jsonl(tmp_path / "rows.jsonl", row))
    assert conversation.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Sum it up.\nA text."},
        {"role": "assistant", "content": "Short."},
    ]


def test_constraints_of_unnatural_instructions_follow_the_instruction_unless_none(tmp_path):
    instances = [
        {"input": "x y", "constraints": "One word.", "output": "a"},
        {"input": "x y", "constraints": "none", "output": "b"},
        {"input": "x y", "constraints": None, "output": "c"},
        {"input": "x y", "constraints": "", "output": " "},
    ]
    with zipfile.ZipFile(tmp_path / "core_data.zip", "w") as archive:
        archive.writestr("core_data.jsonl", json.dumps({"instruction": "Sort it.", "instances": instances}) + "\n")
        archive.writestr("__MACOSX/._core_data.jsonl", "\0\0")
    conversations, rejected, counts = converted("unnatural_instructions", tmp_path / "core_data.zip")
    assert ["Sort it.\nOne word." in talk(one)[0] for one in conversations] == [True, False, False]
    assert not any("none" in talk(one)[0].lower() for one in conversations)
    assert (counts.rows, counts.examples) == (1, 4)
    assert rejected[0].where == f"{tmp_path}/core_data.zip/core_data.jsonl:1"
    assert [one.id[len("unnatural_instructions") :] for one in conversations] == ["_0", "_0_1", "_0_2"]


@pytest.mark.parametrize("name", ["cot", "flan_v2"])
@pytest.mark.parametrize(
    ("prompt", "expected"), [("Why?", "Why?\n"), ("Why?\n", "Why?\n"), ("Answer:", "Answer:"), ("A: ", "A: ")]
)
def test_flan_prompts_end_in_a_line_break_or_a_colon(name, prompt, expected, tmp_path):
    (conversation,), _, _ = converted(name, jsonl(tmp_path / "r.jsonl", {"inputs": prompt, "targets": "So."}))
    assert talk(conversation) == [expected, "So."]


def test_flans_own_tables_give_the_rationale_and_then_the_answer(tmp_path):
    (tmp_path / "qasc_train.tsv").write_text(
        'What?\\nOptions:\\n- (A) "x\tno quote\n'.replace("\tno quote", "\t(A)\tA.\\nB.")
    )
    (conversation,), _, _ = converted("cot", tmp_path / "qasc_train.tsv")
    assert talk(conversation) == ['What?\nOptions:\n- (A) "x\n', "A.\nB.\nSo the answer is (A)."]
    (tmp_path / "cut.tsv").write_text("Why?\tyes\tBecause.\nWhy n")
    with pytest.raises(UserError, match="cut.tsv:2: the line has 1 columns; expected question, answer, rationale"):
        converted("cot", tmp_path / "cut.tsv")


def test_oasst1_has_a_path_to_every_assistant_message(tmp_path):
    def node(role, text, *replies):
        return {"role": role, "text": text, "replies": list(replies)}

    tree = node(
        "prompter",
        "Q1",
        node("assistant", "A1", node("prompter", "Q2", node("assistant", "A2"), node("assistant", "A3"))),
        node("assistant", "A4"),
    )
    rows = [{"message_tree_id": "t", "prompt": tree}, {"message_tree_id": "u", "prompt": node("prompter", "alone")}]
    path = tmp_path / "trees.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    conversations, rejected, counts = converted("oasst1", path)
    paths = [["Q1", "A1"], ["Q1", "A1", "Q2", "A2"], ["Q1", "A1", "Q2", "A3"], ["Q1", "A4"]]
    assert list(map(talk, conversations)) == paths
    assert [one.id for one in conversations] == ["oasst1_t_0", "oasst1_t_1", "oasst1_t_2", "oasst1_t_3"]
    assert (counts.rows, [one.reason for one in rejected]) == (2, ["the row holds no conversation"])


def test_baize_is_cut_at_its_marks(tmp_path):
    text = "A talk.\n[|Human|] Hi. [|AI|] Hello! \n[|Human|] Bye.\n[|AI|] Bye.\n[|Human|] "
    rows = [{"input": text}, {"input": "[|Human|] a [|AI|] b [|AI|] c"}, {"input": "nothing"}, {"input": "[|Human|] a"}]
    (conversation,), rejected, _ = converted("baize", jsonl(tmp_path / "alpaca_chat_data.json", *rows))
    assert talk(conversation) == ["Hi.", "Hello!", "Bye.", "Bye."]
    assert len(rejected) == 3


def test_lima_loses_a_last_question_that_nobody_answers(tmp_path):
    rows = [
        {"conversations": ["Q1", "A1", "Q2"], "source": "x"},
        {"conversations": ["Q1", "A1"]},
        {"conversations": ["Q"]},
    ]
    conversations, rejected, counts = converted("lima", jsonl(tmp_path / "lima.jsonl", *rows))
    assert [talk(one) for one in conversations] == [["Q1", "A1"], ["Q1", "A1"]]
    assert [one.where for one in rejected] == [f"{tmp_path}/lima.jsonl:3"]
    assert counts.notes["last turn left out: nobody answers it"] == 1


def turn(sender, value):
    return {"from": sender, "value": value}


def test_sharegpt_drops_parts_with_other_senders_or_out_of_turn(tmp_path):
    good = [turn("human", "Q"), turn("gpt", "A")]
    rows = [
        {"id": "a", "conversations": [*good, turn("user", "Q2"), turn("chatgpt", "A2")]},
        {"id": "b", "conversations": [turn("system", "S"), *good]},
        {"id": "c", "conversations": [turn("human", "Q"), turn("bing", "A")]},
        {"id": "d", "conversations": [turn("gpt", "A"), *good]},
        {"id": "e", "conversations": [turn("human", "Q")]},
        {"id": "f", "conversations": []},
    ]
    path = tmp_path / "sg_90k_part1_html_cleaned.json"
    path.write_text(json.dumps(rows))
    conversations, rejected, _ = converted("sharegpt", path, max_length=2048)
    assert [(one.id, talk(one)) for one in conversations] == [("sharegpt_a_0", ["Q", "A", "Q2", "A2"])]
    assert len(rejected) == 5
    assert "sender system" in rejected[0].reason and "sender bing" in rejected[1].reason


def test_wizardlm_draws_30_000_rows_and_keeps_their_numbers(tmp_path):
    path = tmp_path / "WizardLM_evol_instruct_V2_143k.json"
    rows = [{"idx": str(n), "conversations": [turn("human", f"Q{n}"), turn("gpt", f"A{n}")]} for n in range(30_010)]
    path.write_text(json.dumps(rows))
    conversations, _, counts = converted("wizardlm", path)
    assert (counts.rows, counts.not_drawn, len(conversations)) == (30_010, 10, 30_000)
    assert all(talk(one) == [f"Q{one.id[9:]}", f"A{one.id[9:]}"] for one in conversations)
    assert len({one.id for one in conversations}) == 30_000


def test_open_orca_reads_parquet_and_leaves_blank_system_prompts_out(tmp_path):
    path = tmp_path / "1M-GPT4-Augmented.parquet"
    rows = [
        {"id": "cot.1", "system_prompt": "Think.", "question": "Q", "response": "A"},
        {"id": "cot.2", "system_prompt": "", "question": "Q", "response": "A"},
        {"id": "cot.3", "system_prompt": None, "question": "Q", "response": None},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), path)
    conversations, rejected, _ = converted("open_orca", path)
    assert [(one.id, talk(one)) for one in conversations] == [
        ("open_orca_cot.1", ["Think.", "Q", "A"]),
        ("open_orca_cot.2", ["Q", "A"]),
    ]
    assert rejected[0].where == f"{path}:3"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="cut off or no Parquet file .* download it again"):
        converted("open_orca", path)


def test_flancot_takes_the_names_of_openorca_too(tmp_path):
    rows = [{"system_prompt": "Think.", "question": "Q", "response": "A"}]
    (conversation,), _, _ = converted("flancot", jsonl(tmp_path / "flancot_100k.jsonl", *rows))
    assert talk(conversation) == ["Think.", "Q", "A"]


def test_seqins_takes_the_last_answer_of_a_run_and_the_instruction_it_answers(tmp_path):
    asked = {"idx": 0, "instruction": "Old.", "input": "", "completions": "...", "option": "B"}
    rows = [
        {**asked, "extracted_instruction": "New.", "final_instruction_response": "N"},
        {
            **asked,
            "extracted_instruction": "New.",
            "final_instruction_response": "N",
            "extracted_refined_instruction": "“Newest.”\nExplanation: because",
            "final_refined_instruction_reponse": "R",
        },
        {**asked, "final_instruction_response": "O"},
        asked,
    ]
    conversations, rejected, _ = converted("seqins", jsonl(tmp_path / "a-final.jsonl", *rows))
    assert [talk(one) for one in conversations] == [["New.", "N"], ["Newest.", "R"], ["Old.", "O"]]
    assert "no answer in the row" in rejected[0].reason


def test_the_calculators_marks_of_gsm8k_are_taken_out(tmp_path):
    row = {"question": "Half of 48?", "answer": "It is 48/2=<<48/2=24>>24.\n#### 24"}
    (conversation,), _, _ = converted("gsm8k", jsonl(tmp_path / "gsm8k_train.jsonl", row))
    assert talk(conversation) == ["Half of 48?", "It is 48/2=24.\nSo the answer is 24."]


def task(instances, shots=3):
    return {
        "Definition": ["Sort the words.", "Other."],
        "Positive Examples": [{"input": f"s{n}", "output": f"t{n}", "explanation": "."} for n in range(shots)],
        "Instances": [{"id": f"i-{n}", "input": f"in {n}", "output": [f"out {n}", "other"]} for n in range(instances)],
    }


def super_ni_archive(path, tasks, listed):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("natural-instructions-master/splits/xlingual/train_tasks.txt", "\n".join(listed) + "\n")
        for name, content in tasks.items():
            archive.writestr(f"natural-instructions-master/tasks/{name}.json", json.dumps(content))
    return path


def test_super_ni_draws_60_plain_and_20_few_shot_instances_of_each_listed_task(tmp_path):
    tasks = {
        "task001_a": task(200),
        "task002_b": task(70, shots=1),
        "task685_mmmlu_x": task(5),
        "task900_test": task(5),
    }
    path = super_ni_archive(tmp_path / "ni.zip", tasks, ["task002_b", "task001_a", "task685_mmmlu_x", "task404_gone"])
    conversations, _, counts = converted("super_ni", path)
    few = [one for one in conversations if talk(one)[0].endswith("\nOutput:\n")]
    assert (counts.rows, counts.not_drawn, len(conversations), len(few)) == (270, 120, 150, 30)
    assert counts.notes == {"task of the list without a file": 1}
    assert [one for one in conversations[:60] if one in few] == []  # the 70 of task002 keep the file's order
    assert talk(conversations[60]) == [
        "Sort the words.\n\nInput:\ns0\nOutput:\nt0\n\nInput:\nin 60\nOutput:\n",
        "out 60",
    ]
    shown = [talk(one)[0].count("Input:\ns") for one in few]
    assert shown == [1] * 10 + [2] * 20
    numbers = [int(one.id.rpartition("-")[2]) for one in conversations[70:]]
    assert len(set(numbers)) == 80 and numbers != sorted(numbers)
    assert converted("super_ni", path)[0] == conversations
    assert converted("super_ni", path, seed=1)[0] != conversations


def test_super_ni_refuses_a_file_that_is_no_task(tmp_path):
    (tmp_path / "task001_a.json").write_text(json.dumps(task(3))[:-20])
    with pytest.raises(UserError, match="task001_a.json: no task .*; expected Definition, .* Is the file cut off"):
        converted("super_ni", tmp_path / "task001_a.json")
    archive = super_ni_archive(tmp_path / "ni.zip", {"task001_a": task(3)}, ["task001_a"])
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(UserError, match="ni.zip: cut off or no zip file .* download it again"):
        converted("super_ni", archive)


def multilingual(folder, rows, languages=("en", "ru", "es", "zh", "de")):
    for language in languages:
        content = [
            {
                "instruction": f"I{n} {language}",
                "input": f"in{n} {language}" if n % 3 else "",
                "output": f"O{n} {language}",
            }
            for n in range(rows)
        ]
        (folder / f"alpaca_data_cleaned.{language}.json").write_text(json.dumps(content))
    return find("alpaca_multilingual", reformat.module("alpaca_multilingual").SOURCE, folder)[0]


def test_multilingual_rows_have_foreign_inputs_and_english_instructions_each_once(tmp_path):
    paths = multilingual(tmp_path, 300)  # 200 with an input
    conversations, _, counts = converted("alpaca_multilingual", *paths, draw=40)
    assert {text: count for text, count in counts.notes.items()} == {
        f"input in {language}": 40 for language in ("ru", "es", "zh", "de")
    }
    assert len(conversations) == 300
    for number, conversation in enumerate(conversations):
        prompt, answer = talk(conversation)
        assert prompt.startswith(f"I{number} en") and answer == f"O{number} en"
        assert ("\n" in prompt) == bool(number % 3)
    inputs = [talk(one)[0].split()[-1] for one in conversations]
    assert {language: inputs.count(language) for language in ("ru", "es", "zh", "de")} == dict.fromkeys(
        ("ru", "es", "zh", "de"), 40
    )


def test_multilingual_files_of_different_length_are_refused(tmp_path):
    multilingual(tmp_path, 30)
    paths = multilingual(tmp_path, 29, languages=("zh",)) and multilingual(tmp_path, 30, languages=("en",))
    with pytest.raises(UserError, match="cleaned.zh.json: ends after 29 rows, before the others"):
        converted("alpaca_multilingual", *paths)
