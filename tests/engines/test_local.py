"""The local engine answers as its contract says, whatever the batch, and refuses what is no whole checkpoint."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from open_instruct.core.errors import UserError
from open_instruct.engines import open_engine
from open_instruct.engines.base import Completion, Request, Sampling
from open_instruct.engines.local import Engine, Settings, draw

WORDS = "reverse the list of words and count them é 😀".split()


def asked(key: int, words: int, **sampling: object) -> Request:
    content = " ".join(WORDS[(key + place) % len(WORDS)] for place in range(words))
    return Request(key, ({"role": "user", "content": content},), Sampling(**{"max_tokens": 16, **sampling}))


def answers(engine: Engine, requests: list[Request]) -> dict[int, Completion]:
    """By key, each exactly once."""
    found = list(engine.complete(iter(requests)))
    assert sorted(completion.key for completion in found) == sorted(request.key for request in requests)
    return {completion.key: completion for completion in found}


@pytest.fixture(scope="module")
def engine(tiny_checkpoint) -> Iterator[Engine]:
    engine = open_engine("local", [f"path={tiny_checkpoint}", "batch_size=4", "dtype=float32", "device=cpu"])
    yield engine
    engine.close()


@pytest.fixture
def copied(tiny_checkpoint, tmp_path) -> Path:
    """The checkpoint, to be damaged."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_greedy_answer_is_that_of_transformers(engine, tiny_checkpoint):
    """One prompt without padding, through the tokenizer's template, is the measure."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint, dtype=torch.float32)
    requests = [asked(key, 1 + key % 5) for key in range(6)]
    for request in requests:
        prompt = tokenizer(f"<|user|>\n{request.messages[0]['content']}\n<|assistant|>\n", return_tensors="pt")
        written = model.generate(**prompt, max_new_tokens=16, do_sample=False)[0, prompt["input_ids"].shape[1] :]
        completion = answers(engine, requests)[request.key]
        assert completion.text == tokenizer.decode(written, skip_special_tokens=True)
        assert completion.prompt_tokens == prompt["input_ids"].shape[1]
        assert completion.completion_tokens == len(written)
        assert completion.finish_reason == "length"


@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.0, "top_p": 0.9, "top_k": 50}], ids=["greedy", "drawn"])
def test_answers_do_not_depend_on_the_batch(tiny_checkpoint, sampling):
    requests = [asked(key, 1 + key * 7 % 20, seed=key, **sampling) for key in range(21)]
    found = []
    for batch_size, order in ((1, 1), (5, 1), (32, -1)):
        engine = Engine(Settings(str(tiny_checkpoint), batch_size, "float32", "cpu"))
        found.append(answers(engine, requests[::order]))
    assert found[0] == found[1] == found[2]
    assert len({completion.text for completion in found[0].values()}) > 15


def test_seed_makes_a_draw_repeatable_and_another_seed_another_draw(engine):
    def drawn(seed: int, **more: object) -> Completion:
        return answers(engine, [asked(0, 4, temperature=1.0, seed=seed, **more)])[0]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len({drawn(seed).text for seed in range(20)}) == 20


def test_requests_of_one_batch_keep_their_own_sampling(engine):
    """Greedy, drawn and nearly greedy ones lie side by side."""
    greedy = answers(engine, [asked(0, 4)])[0].text
    mixed = [
        asked(0, 4),
        Request(1, asked(0, 4).messages, Sampling(max_tokens=16, temperature=1.5, seed=3)),
        Request(2, asked(0, 4).messages, Sampling(max_tokens=16, temperature=2.0, top_k=1, seed=4)),
        Request(3, asked(0, 4).messages, Sampling(max_tokens=16, temperature=2.0, top_p=1e-6, seed=5)),
    ]
    found = answers(engine, mixed)
    assert found[0].text == found[2].text == found[3].text == greedy
    assert found[1].text != greedy


def test_every_request_gets_its_own_number_of_tokens(engine):
    found = answers(engine, [asked(key, 3, max_tokens=key + 1) for key in range(9)])
    assert [found[key].completion_tokens for key in range(9)] == list(range(1, 10))
    assert {completion.finish_reason for completion in found.values()} == {"length"}


def test_end_token_ends_an_answer_and_is_no_part_of_it(copied):
    """The end tokens of the generation configuration count, not only the tokenizer's."""
    long = answers(Engine(Settings(str(copied))), [asked(0, 4)])[0]
    tokenizer = AutoTokenizer.from_pretrained(copied)
    model = AutoModelForCausalLM.from_pretrained(copied, dtype=torch.float32)
    prompt = tokenizer.apply_chat_template(
        list(asked(0, 4).messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    written = model.generate(**prompt, max_new_tokens=16, do_sample=False)[0, prompt["input_ids"].shape[1] :].tolist()
    place = next(place for place in range(3, 16) if written[place] not in written[:place])
    change_json(copied / "generation_config.json", eos_token_id=[1, written[place]])
    short = answers(Engine(Settings(str(copied))), [asked(0, 4)])[0]
    assert short.finish_reason == "stop"
    assert short.text == tokenizer.decode(written[:place])
    assert short.completion_tokens == place + 1
    assert long.completion_tokens == 16


def test_what_the_checkpoint_suggests_changes_nothing(copied, engine):
    """A generation configuration with a temperature and penalties is common, and no request asked for it."""
    change_json(
        copied / "generation_config.json",
        do_sample=True,
        temperature=5.0,
        repetition_penalty=9.0,
        max_length=30,
        top_k=3,
    )
    requests = [asked(key, 4) for key in range(4)]
    assert answers(Engine(Settings(str(copied))), requests) == answers(engine, requests)


def test_stop_text_ends_an_answer_and_is_removed(engine):
    whole = answers(engine, [asked(key, 4, max_tokens=40) for key in range(8)])
    for key, completion in whole.items():
        place = next(place for place in range(10, 40) if "\ufffd" not in completion.text[place : place + 3])
        stop = completion.text[place : place + 3]
        stopped = answers(engine, [asked(key, 4, max_tokens=40, stop=("never written", stop))])[key]
        assert stopped.text == completion.text[: completion.text.index(stop)]
        assert stopped.finish_reason == "stop"
        assert stopped.completion_tokens < 40
        unstopped = answers(engine, [asked(key, 4, max_tokens=40, stop=("never written",))])[key]
        assert unstopped == completion


def test_prompt_beyond_the_window_is_an_answer_with_the_reason(engine):
    found = answers(engine, [asked(0, 3), asked(1, 300), asked(2, 3)])
    assert found[1].finish_reason == "error"
    assert found[1].text == ""
    assert found[1].prompt_tokens > 256
    assert f"the prompt of {found[1].prompt_tokens} tokens" in found[1].error and "window of 256" in found[1].error
    assert found[0].finish_reason == found[2].finish_reason == "length"


def test_answer_ends_with_the_window(engine):
    """Of prompts of growing length, the longest that fits leaves a few tokens, and the answer has just those."""
    text = " ".join([*WORDS, ""]) * 5
    found = answers(
        engine,
        [
            Request(key, ({"role": "user", "content": text + "x" * key},), Sampling(max_tokens=10_000))
            for key in range(0, 160, 5)
        ],
    )
    assert {one.finish_reason for one in found.values()} >= {"error", "length"}
    fits = max((one for one in found.values() if one.finish_reason != "error"), key=lambda one: one.prompt_tokens)
    assert fits.finish_reason == "length"
    assert fits.prompt_tokens + fits.completion_tokens == 256


def test_no_batch_goes_beyond_the_window(engine, monkeypatch):
    """A long prompt beside a short one with a long answer: models with learned positions fall over there."""
    reached = []
    generate = engine._model.generate

    def watched(ids: torch.Tensor, **more: object) -> torch.Tensor:
        written = generate(ids, **more)
        reached.append(written.shape[1])
        return written

    monkeypatch.setattr(engine._model, "generate", watched)
    long = asked(0, 60, max_tokens=3)
    found = answers(
        engine, [long, asked(1, 2, max_tokens=200), asked(2, 2, max_tokens=200), asked(3, 60, max_tokens=3)]
    )
    assert found[0].prompt_tokens + 200 > 256  # together they would
    assert max(reached) <= 256
    assert len(reached) == 2


def test_messages_that_the_template_refuses_are_an_answer_with_the_reason(engine):
    refused = Request(1, ({"role": "system", "content": "refused"}, {"role": "user", "content": "x"}))
    found = answers(engine, [asked(0, 3), refused])
    assert found[1].finish_reason == "error"
    assert found[1].error == "the chat template refuses the messages: no such system text"
    assert found[0].error == ""


def test_half_a_character_is_that_requests_error_alone(engine):
    found = answers(engine, [asked(0, 3), Request(1, ({"role": "user", "content": "\ud83d"},), Sampling(4))])
    assert found[1].finish_reason == "error" and "cannot read the messages" in found[1].error
    assert found[0].error == ""


def test_it_takes_no_more_than_it_can_work_on_and_answers_before_the_end(engine):
    """Endless requests flow through."""
    taken = 0

    def requests() -> Iterator[Request]:
        nonlocal taken
        while True:
            taken += 1
            yield asked(taken, 1 + taken % 9, max_tokens=2)

    stream = engine.complete(requests())
    next(stream)
    assert taken == 8 * 4  # eight batches of four
    keys = [next(stream).key for _ in range(100)]
    assert len(set(keys)) == 100
    assert taken <= 100 + 1 + 8 * 4


def test_few_requests_and_none(engine):
    assert list(engine.complete([])) == []
    assert len(answers(engine, [asked(0, 1)])) == 1


def test_draw_follows_the_probabilities():
    """A grid of random numbers gives each token its share exactly."""
    shares = torch.tensor([0.1, 0.4, 0.2, 0.3])
    grid = (torch.arange(1000) + 0.5) / 1000
    logits = shares.log().repeat(1000, 1)

    def drawn(**sampling: float) -> dict[int, int]:
        return dict(Counter(draw(logits, [Sampling(**sampling)] * 1000, grid).tolist()))

    assert drawn(temperature=1.0) == {0: 100, 1: 400, 2: 200, 3: 300}
    assert drawn(temperature=0.0) == {1: 1000}
    assert drawn(temperature=1.0, top_k=1) == {1: 1000}
    assert drawn(temperature=1.0, top_k=2) == pytest.approx({1: 4000 / 7, 3: 3000 / 7}, abs=1)
    # The smallest set that reaches the share: 0.4 + 0.3 does not reach 0.75, with 0.2 it does.
    assert drawn(temperature=1.0, top_p=0.75) == pytest.approx({1: 4000 / 9, 3: 3000 / 9, 2: 2000 / 9}, abs=1)
    assert drawn(temperature=1.0, top_p=0.65) == pytest.approx({1: 4000 / 7, 3: 3000 / 7}, abs=1)
    assert drawn(temperature=1.0, top_p=0.0) == {1: 1000}
    squared = shares**2 / (shares**2).sum()
    assert drawn(temperature=0.5) == pytest.approx({token: 1000 * float(squared[token]) for token in range(4)}, abs=1)


def test_draw_stays_within_what_is_kept_at_the_edges():
    logits = torch.tensor([[0.0, -torch.inf, 1.0, -torch.inf]]).repeat(2, 1)
    uniform = torch.tensor([0.0, torch.nextafter(torch.tensor(1.0), torch.tensor(0.0))])
    assert draw(logits, [Sampling(temperature=1.0)] * 2, uniform).tolist() == [2, 0]


def refusal(folder: Path, monkeypatch=None, **settings: object) -> str:
    with pytest.raises(UserError) as raised:
        Engine(Settings(str(folder), **settings))
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_what_is_no_whole_checkpoint_is_refused_before_weights_are_read(copied, monkeypatch):
    def never(*arguments: object, **more: object) -> None:
        raise AssertionError("the weights were read")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", never)
    assert "no such checkpoint folder" in refusal(copied / "nowhere")
    (copied / "tokenizer.json").rename(copied / "away")
    assert "no tokenizer here" in refusal(copied)
    (copied / "tokenizer.json").write_text("{}")
    assert "the checkpoint cannot be loaded" in refusal(copied)
    (copied / "chat_template.jinja").unlink()
    assert "the tokenizer has no chat template" in refusal(copied)


def test_missing_weights_are_refused_not_invented(copied):
    change_json(copied / "config.json", num_hidden_layers=3)
    assert "weights are missing (model.layers.2." in refusal(copied)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"batch_size": 0}, "batch_size is 0; expected 1 or more"),
        ({"dtype": "int8"}, "no dtype 'int8'; there are: auto, float32"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not usable here"),
        ({"device": "toaster"}, "device 'toaster' is not usable here"),
    ],
)
def test_settings_that_cannot_be(tiny_checkpoint, settings, problem):
    assert problem in refusal(tiny_checkpoint, **settings)


def test_half_precision_answers_too(tiny_checkpoint):
    engine = Engine(Settings(str(tiny_checkpoint), dtype="bfloat16", device="cpu"))
    assert {completion.finish_reason for completion in engine.complete([asked(key, 5) for key in range(5)])} == {
        "length"
    }


def test_full_gpu_names_a_smaller_batch(engine, monkeypatch):
    def too_much(*arguments: object, **more: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine._model, "generate", too_much)
    with pytest.raises(UserError, match="too small for 4 answers at once.* batch_size=2"):
        list(engine.complete([asked(key, 1) for key in range(4)]))
