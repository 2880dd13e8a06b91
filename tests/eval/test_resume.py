"""Answers that a killed run had are not asked again, and none is taken for another's."""

import random
from types import SimpleNamespace

import pytest
from lm_eval.api.instance import Instance
from transformers import set_seed

from eval.backends import hf
from eval.backends.base import Plan
from eval.resume import ResumableModel
from open_instruct.core.journal import Journal


class Answering:
    """Stands for a model of lm_eval: answers in batches, longest prompt first, and may fall over after some of them."""

    def __init__(self, fails_after=10**9):
        self.asked = []
        self.fails_after = fails_after
        self.hook = None

    def set_cache_hook(self, hook):
        self.hook = hook

    def generate_until(self, requests, disable_tqdm=False):
        answers = {}
        for place in sorted(range(len(requests)), key=lambda place: -len(requests[place].args[0])):
            if len(self.asked) == self.fails_after:
                raise KeyboardInterrupt
            self.asked.append(requests[place].args[0])
            answers[place] = f"{requests[place].args[0]}!{len(self.asked)}"
            self.hook.add_partial("generate_until", requests[place].args, answers[place])
        return [answers[place] for place in range(len(requests))]

    def loglikelihood(self, requests, disable_tqdm=False):
        self.asked += [request.args for request in requests]
        return [(float("-inf") if request.args[1] == "never" else -1.5, True) for request in requests]


def texts(*prompts):
    return [SimpleNamespace(args=(prompt, {"do_sample": True, "until": []})) for prompt in prompts]


def resumable(model, folder, **depends_on):
    made = ResumableModel(model, depends_on)
    made.begin(folder, "test")
    return made


def test_only_what_is_missing_is_asked_and_the_order_stays(tmp_path):
    prompts = [f"{'x' * random.Random(number).randint(1, 30)}{number}" for number in range(20)]
    broken = Answering(fails_after=8)
    with pytest.raises(KeyboardInterrupt):
        resumable(broken, tmp_path).generate_until(texts(*prompts))
    second = Answering()
    answers = resumable(second, tmp_path).generate_until(texts(*prompts))
    assert [answer.split("!")[0] for answer in answers] == prompts
    assert len(broken.asked) == 8 and sorted(broken.asked + second.asked) == sorted(prompts)
    third = Answering()
    assert resumable(third, tmp_path).generate_until(texts(*prompts)) == answers
    assert third.asked == []


def test_equal_requests_keep_an_answer_each(tmp_path):
    """Several samples of one prompt: lm_eval's own cache keeps none of them."""
    broken = Answering(fails_after=3)
    with pytest.raises(KeyboardInterrupt):
        resumable(broken, tmp_path).generate_until(texts(*["same"] * 5))
    second = Answering()
    answers = resumable(second, tmp_path).generate_until(texts(*["same"] * 5))
    assert len(second.asked) == 2
    assert sorted(answers) == ["same!1", "same!1", "same!2", "same!2", "same!3"]


def test_another_model_or_other_requests_begin_anew(tmp_path):
    resumable(Answering(), tmp_path, checkpoint="a").generate_until(texts("one", "two"))
    for other, prompts in (("b", ("one", "two")), ("b", ("one", "three"))):
        model = Answering()
        resumable(model, tmp_path, checkpoint=other).generate_until(texts(*prompts))
        assert sorted(model.asked) == sorted(prompts)
    assert len(list(tmp_path.glob("*.journal"))) == 1


def test_likelihoods_come_back_as_pairs_and_infinite_ones_are_worked_out_again(tmp_path):
    requests = [SimpleNamespace(args=("context", word)) for word in ("one", "never", "two")]
    expected = [(-1.5, True), (float("-inf"), True), (-1.5, True)]
    assert resumable(Answering(), tmp_path).loglikelihood(requests) == expected
    second = Answering()
    assert resumable(second, tmp_path).loglikelihood(requests) == expected
    assert second.asked == [("context", "never")]


def test_everything_else_is_the_models(tmp_path):
    assert resumable(Answering(fails_after=3), tmp_path).fails_after == 3


class Streaming(Answering):
    """Answers one by one, the last request first; each draw of a prompt is told apart by its number."""

    max_length = None

    def answers(self, kind, requests, draws):
        for place in reversed(range(len(requests))):
            if len(self.asked) == self.fails_after:
                raise KeyboardInterrupt
            self.asked.append((requests[place].args[0], draws[place]))
            yield place, f"{requests[place].args[0]}!{draws[place]}"


def test_answers_that_come_one_by_one_are_kept_one_by_one_and_no_draw_comes_twice(tmp_path):
    prompts = ["one", "same", "same", "two", "same", "same"]
    broken = Streaming(fails_after=3)
    with pytest.raises(KeyboardInterrupt):
        resumable(broken, tmp_path).generate_until(texts(*prompts))
    second = Streaming()
    answers = resumable(second, tmp_path).generate_until(texts(*prompts))
    assert answers == ["one!0", "same!0", "same!1", "two!0", "same!2", "same!3"]
    assert len(broken.asked) == 3 and sorted(broken.asked + second.asked) == sorted(set(broken.asked + second.asked))


def test_the_models_memory_is_given_back(tmp_path):
    model = Answering()
    model.close = lambda: setattr(model, "closed", True)
    made = resumable(model, tmp_path)
    made.close()
    assert model.closed and made._model is None


def test_answers_drawn_after_a_kill_are_not_those_drawn_before_it(checkpoint, tmp_path, monkeypatch):
    settings = {"do_sample": True, "temperature": 1.0, "until": [], "max_gen_toks": 8}
    requests = [Instance("generate_until", {}, ("apple pear", settings), 0) for _ in range(8)]
    add = Journal.add

    def dies_after_a_batch(journal, row, answer):
        if len(journal) == 4:
            raise KeyboardInterrupt
        add(journal, row, answer)

    def draw():
        set_seed(0)  # as before each benchmark
        model = hf.open_model(Plan(model=str(checkpoint), device="cpu", batch_size=4))
        return resumable(model, tmp_path, seed=0).generate_until(requests)

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Journal, "add", dies_after_a_batch)
        draw()
    answers = draw()
    assert len(set(answers)) == 8  # random weights hardly say the same twice
