"""The openai engine against a server that misbehaves in every way: right answers, tries, pauses, and clear stops."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from open_instruct.core.errors import UserError
from open_instruct.engines import _chat, _http, identity, open_engine
from open_instruct.engines.base import Request, Sampling

sys.path.append(str(Path(__file__).parent))
from fault_server import fault_server  # noqa: E402

# An unclosed session, a task that was destroyed, ...
pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("no_garbage")]

KEY = "test-key-5f2c9b7a"
LIST = "apple fig pear"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(_http, "_FIRST_PAUSE", 0.01)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def request(key=0, text=f"Reverse the list.\n{LIST}", **sampling):
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": text})
    return Request(key, messages, Sampling(**sampling))


def numbered(count):
    return (request(key, f"Copy the list.\nitem{key} {LIST}") for key in range(count))


def ask(server, requests=None, troubles=None, **settings):
    """The completions, in the order of their keys."""
    options = {"model": "oracle", "base_url": server.url, "in_flight": 8} | settings
    engine = open_engine("openai", [f"{name}={value}" for name, value in options.items()])
    try:
        done = list(engine.complete(requests or [request()]))
        if troubles is not None:
            troubles.update(engine.troubles)
        return sorted(done, key=lambda completion: completion.key)
    finally:
        engine.close()


def sent(entry):
    return json.loads(entry.body)


def test_it_sends_what_was_asked_for_and_reads_the_answer():
    with fault_server() as server:
        (done,) = ask(server, [request(7, max_tokens=9, temperature=0.5, top_p=0.9, top_k=50, stop=("#",), seed=3)])
    assert (done.key, done.text, done.finish_reason) == (7, "pear fig apple", "stop")
    assert (done.prompt_tokens, done.completion_tokens, done.error) == (8, 3, "")
    body = sent(server.log[0])
    assert [message["content"] for message in body.pop("messages")] == ["Be brief.", f"Reverse the list.\n{LIST}"]
    drawn = {"temperature": 0.5, "top_p": 0.9, "top_k": 50, "stop": ["#"], "seed": 3}
    assert body == {"model": "oracle", "max_tokens": 9} | drawn
    assert "Authorization" not in server.log[0].headers


def test_extra_fields_are_sent_and_null_takes_a_field_out():
    with fault_server() as server:
        ask(server, extra='{"min_p": 0.1, "seed": null}')
    assert sent(server.log[0])["min_p"] == 0.1 and "seed" not in sent(server.log[0])


def test_every_request_is_answered_once_and_many_are_on_their_way():
    with fault_server(latency_ms=200) as server:
        done = ask(server, numbered(64), in_flight=16)
    assert [completion.key for completion in done] == list(range(64))
    assert all(completion.text == f"item{completion.key} {LIST}" for completion in done)
    open_now = [sum(other.came <= entry.came < other.left for other in server.log) for entry in server.log]
    assert 8 < max(open_now) <= 16


TROUBLES = {
    "429": "429",
    "500": "500",
    "503": "503",
    "408": "408",
    "409": "409",
    "529": "529",
    "drop": "dropped connection",
    "half": "half answer",
    "garbage": "garbage",
    "endless": "too large",
    "endless_gzip": "too large",
    "array": "garbage",
    "no_choices": "garbage",
    "error_object": "error in answer",
    "abort": "error in answer",
}


@pytest.mark.parametrize(("fault", "kind"), TROUBLES.items())
def test_a_trouble_is_counted_and_asked_again(fault, kind):
    troubles = {}
    with fault_server(sequence=[fault, fault]) as server:
        (done,) = ask(server, troubles=troubles)
    assert (done.text, done.finish_reason) == ("pear fig apple", "stop")
    assert troubles == {kind: 2}
    assert len(server.log) == 3 and len({entry.body for entry in server.log}) == 1


def test_an_answer_that_takes_too_long_is_asked_again():
    troubles = {}
    with fault_server(sequence=["slow"]) as server:
        (done,) = ask(server, troubles=troubles, timeout=2)
    assert done.finish_reason == "stop" and troubles == {"timeout": 1}


@pytest.mark.parametrize("fault", TROUBLES)
def test_when_no_try_is_left_the_row_has_a_reason_and_the_run_goes_on(fault):
    with fault_server(sequence=[fault] * 3) as server:
        first, second = ask(server, [request(0), request(1)], in_flight=1, retries=2, give_up_after=0)
        assert len(server.log) == 4
    assert (first.finish_reason, first.text, second.finish_reason) == ("error", "", "stop")
    assert first.error.endswith("; asked 3 times") and "None" not in first.error


def test_a_server_that_answers_nobody_costs_no_row_if_it_comes_back():
    with fault_server(sequence=["502"] * 48) as server:
        done = ask(server, numbered(20), retries=1)
    assert [completion.finish_reason for completion in done] == ["stop"] * 20


def test_a_server_that_answers_nobody_for_long_stops_the_run():
    with fault_server(sequence=["502"] * 100_000) as server:
        with pytest.raises(UserError, match="20 requests in a row had to be given up.*HTTP 502"):
            ask(server, numbered(1000), retries=1, give_up_after=0.3)


def test_one_request_that_always_fails_costs_its_row_alone():
    with fault_server(sequence=[None, "500", None] + ["500"] * 1000) as server:
        done = ask(server, numbered(3), in_flight=1, retries=1, give_up_after=0.1)
    assert [completion.finish_reason for completion in done] == ["stop", "stop", "error"]
    assert re.fullmatch(r"the server answers HTTP 500: the server says so; asked \d+ times", done[2].error)


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    with fault_server() as server:
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
        (done,) = ask(server, base_url="http://models.example/v1")
        assert done.finish_reason == "stop" and server.log[0].headers["Host"] == "models.example"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert ask(server)[0].finish_reason == "stop"


def test_a_proxy_may_stand_without_http(monkeypatch):
    with fault_server() as server:
        monkeypatch.setenv("http_proxy", server.url.removeprefix("http://").removesuffix("/v1"))
        assert ask(server, base_url="http://models.example/v1")[0].finish_reason == "stop"


@pytest.mark.parametrize("proxy", ["socks5://me:secret9@host:1", "http://me:secret9@host:99999", "?? secret9"])
def test_a_proxy_that_cannot_be_used_is_told_at_once(monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(UserError, match="HTTP_PROXY is no address of an HTTP proxy") as caught:
        open_engine("openai", ["model=oracle", "base_url=http://models.example/v1"])
    assert "secret9" not in str(caught.value)


def test_faults_everywhere_lose_nothing():
    troubles = {}
    with fault_server(faults=0.3, retry_after=0.05) as server:
        done = ask(server, numbered(400), troubles, in_flight=32)
    assert [(d.key, d.text, d.finish_reason) for d in done] == [(k, f"item{k} {LIST}", "stop") for k in range(400)]
    assert server.served["ok"] == 400
    assert sum(troubles.values()) == len(server.log) - 400 > 50


@pytest.mark.parametrize("fault", ["429_after", "429_date", "429_ms"])
def test_all_requests_wait_as_long_as_the_server_asks(fault):
    with fault_server(sequence=[fault], retry_after=1.0, latency_ms=100) as server:
        in_flight = 1 if fault == "429_date" else 4
        done = ask(server, numbered(40), in_flight=in_flight)
    assert all(completion.finish_reason == "stop" for completion in done)
    refused, *others = server.log
    until = refused.left + 1.0
    if fault == "429_date":  # which has whole seconds, and was told when the latency was over
        wall = time.time() - time.monotonic()
        until = int(refused.came + 0.1 + wall) + 1.0 - wall
    early = [entry for entry in others if entry.came < until - 0.01]
    assert len(others) == 40 and len(early) <= in_flight - 1  # those were on their way by then


def test_a_date_is_counted_from_the_servers_own_clock():
    told = {"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert _http._wait(told) == 30
    assert _http._wait({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}) == 0  # long ago by ours
    assert _http._wait({"Retry-After": "soon"}) is None and _http._wait({}) is None


@pytest.mark.parametrize("fault", ["429_zero", "429_never"])
def test_where_the_server_asks_for_no_pause_that_can_be_kept_our_own_grow(fault, monkeypatch):
    pauses = []
    pause = _http.Server._pause

    def noted(self, trouble, tries):
        monkeypatch.setattr(_http.random, "uniform", lambda low, high: high)
        pauses.append(pause(self, trouble, tries))
        return 0

    monkeypatch.setattr(_http.Server, "_pause", noted)
    with fault_server(sequence=[fault] * 4) as server:
        (done,) = ask(server)
    assert done.finish_reason == "stop" and pauses == [0.01, 0.02, 0.04, 0.08]


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "-5", "Fri, 31 Dec 9999 23:59:59 +99999999"])
def test_a_retry_after_that_makes_no_sense_is_none(text):
    assert not _http._wait({"Retry-After": text}) and not _http._wait({"retry-after-ms": text})


def test_a_server_that_asks_for_hours_stops_the_run():
    with fault_server(sequence=["429_day"]) as server, pytest.raises(UserError, match="asks to wait 24.0 hours"):
        ask(server)


def test_a_busy_server_costs_no_row_as_long_as_others_are_answered():
    """Every second request is refused as busy: with one try a row, half of them would be lost."""
    with fault_server(sequence=["429", None] * 60) as server:
        done = ask(server, numbered(60), in_flight=4, retries=4)
    assert [completion.finish_reason for completion in done] == ["stop"] * 60


def test_the_limit_of_requests_a_minute_is_kept():
    with fault_server() as server:
        ask(server, numbered(30), requests_per_minute=600)
    came = [entry.came for entry in server.log]
    # 0.1 s apart on the whole: the first may have come up to 0.5 s late on a busy machine, and 2 % are kept free.
    assert all(came[k] - came[0] >= 0.1 * (k - 5) for k in range(30))


def test_the_limit_of_tokens_a_minute_is_kept():
    with fault_server() as server:
        ask(
            server,
            [request(k, "Copy the list.\n" + "word " * 400, max_tokens=500) for k in range(8)],
            tokens_per_minute=120_000,
        )
    came = [entry.came for entry in server.log]
    # 502 tokens of prompt, 500 of answer: 1,000 a row, 0.5 s apart; the first may have come as much too late.
    assert all(came[k] - came[0] >= 0.5 * (k - 1) for k in range(8))


def test_a_pause_does_not_break_the_limit():
    with fault_server(sequence=[None, "429_after"], retry_after=0.5) as server:
        ask(server, numbered(40), requests_per_minute=1200)
    came = [entry.came for entry in server.log]
    last = next(k for k in range(2, len(came)) if came[k] >= server.log[1].left + 0.5 - 0.01)
    assert all(came[k] - came[last] >= 0.05 * (k - last - 10) for k in range(last, len(came)))


REASONS = {
    "content_filter": "the provider's filter refused it",
    "refusal": "the model refused: I cannot help with that.",
    "tool_calls": "the model called a tool instead of answering",
    "no_text": "the answer has no text",
    "strange": "the server ended the answer for a reason of its own: strange",
    "400": "the server refuses the request (HTTP 400): 'temperature' is not what it was",
    "400_filter": "the provider's filter refused it: The prompt triggered the content management policy",
    "403_flagged": "the provider's filter refused it: Your input was flagged by moderation",
    "422": "the server refuses the request (HTTP 422): the server says so",
}


@pytest.mark.parametrize(("fault", "reason"), REASONS.items())
def test_what_is_no_answer_is_an_error_with_its_reason_and_not_asked_again(fault, reason):
    with fault_server(sequence=[fault]) as server:
        (done,) = ask(server)
        assert len(server.log) == 1
    assert (done.text, done.finish_reason, done.error) == ("", "error", reason)


def test_a_cut_off_answer_says_so():
    with fault_server() as server:
        (done,) = ask(server, [request(max_tokens=2)])
    assert (done.text, done.finish_reason) == ("pear fig", "length")


@pytest.mark.parametrize("fault", ["parts", "thoughts", "no_usage", "odd_usage"])
def test_other_servers_forms_are_read(fault):
    with fault_server(sequence=[fault]) as server:
        (done,) = ask(server)
    assert (done.text, done.finish_reason) == ("pear fig apple", "stop")
    if fault.endswith("_usage"):  # 4 characters a token
        assert (done.prompt_tokens, done.completion_tokens) == ((9 + 17 + 1 + 14) // 4, 14 // 4)


STOPS = {
    "401": "the key in OPENAI_API_KEY is not set, and the server wants a key",
    "403": "the key in OPENAI_API_KEY is not set.*HTTP 403",
    "402": "no money left",
    "404": "does not know this model or address.*Mend model or base_url",
    "quota": "no quota left",
    "302": "sends us to https://elsewhere.example/v1",
}


@pytest.mark.parametrize(("fault", "message"), STOPS.items())
def test_what_no_request_can_pass_stops_the_run_after_what_was_answered(fault, message):
    with fault_server(sequence=[None, None, fault]) as server:
        engine = open_engine("openai", ["model=oracle", f"base_url={server.url}", "in_flight=1"])
        keys = []
        with pytest.raises(UserError, match=message):
            for done in engine.complete(numbered(10)):
                keys.append(done.key)
        engine.close()
        assert len(server.log) == 3
    assert keys == [0, 1]


def test_an_unknown_model_is_named():
    with fault_server() as server, pytest.raises(UserError, match="`gpt-7` does not exist"):
        ask(server, model="gpt-7")


def test_requests_that_are_all_refused_stop_the_run():
    with fault_server(sequence=["400"] * 100) as server:
        with pytest.raises(UserError, match="the first 20 requests were all refused.*'temperature' is not what it was"):
            ask(server, numbered(100))
        assert len(server.log) < 40


@pytest.mark.parametrize(
    ("sequence", "settings"), [([None] + ["400"] * 60, {}), (["400"] * 60, {"stop_after_failures": 0})]
)
def test_refusals_go_to_their_rows_if_others_are_answered_or_the_user_says_so(sequence, settings):
    with fault_server(sequence=sequence) as server:
        done = ask(server, numbered(70), in_flight=1, **settings)
    assert sum(completion.finish_reason == "error" for completion in done) == 60


def test_prompts_beyond_the_window_are_errors_of_their_rows_and_never_stop_the_run():
    with fault_server(window=100) as server:
        done = ask(server, [request(key, "word " * 200) for key in range(30)] + [request(30, max_tokens=50)])
    assert [completion.finish_reason for completion in done] == ["error"] * 30 + ["stop"]
    assert done[0].error.startswith("the prompt is longer than the model's window: This model's maximum context length")


def test_an_answer_limit_beyond_the_window_becomes_what_there_is_room_for():
    with fault_server(window=100) as server:
        (done,) = ask(server, [request(max_tokens=1000)])
    assert done.finish_reason == "stop"
    assert [sent(entry)["max_tokens"] for entry in server.log] == [1000, 100 - 8]


def test_fields_that_the_server_does_not_know_are_left_out_with_a_notice(capsys):
    with fault_server(refused_fields=["top_k", "seed"]) as server:
        done = ask(server, [request(key, top_k=50) for key in range(20)], in_flight=4)
    assert {completion.finish_reason for completion in done} == {"stop"}
    assert "top_k" not in sent(server.log[-1]) and "seed" not in sent(server.log[-1])
    notices = capsys.readouterr().err.splitlines()
    assert len([line for line in notices if "top_k is not sent" in line]) == 1
    assert len([line for line in notices if "seed is not sent" in line]) == 1


def test_a_refused_prompt_that_names_a_field_teaches_nothing():
    chat = _chat.Chat("openai", "m", "", "auto", openai=False)
    body = chat.body(request(top_k=5))
    quoted = _http.Refused(400, "content_filter", "content policy: 'plant the seed', unsupported: top_k max_tokens")
    assert chat.mend(quoted, body) is None
    assert chat.body(request(top_k=5)) == body


def test_the_name_of_the_answer_limit_is_learnt():
    with fault_server(refused_fields=["max_tokens"]) as server:
        done = ask(server, [request(key, max_tokens=9) for key in range(20)], in_flight=4)
    assert {completion.finish_reason for completion in done} == {"stop"}
    assert sent(server.log[-1])["max_completion_tokens"] == 9
    with fault_server(refused_fields=["max_tokens", "max_completion_tokens"]) as server:
        (done,) = ask(server)
        assert done.finish_reason == "error" and len(server.log) == 2
    with fault_server(refused_fields=["max_tokens"]) as server:
        (done,) = ask(server, max_tokens_field="max_tokens")
        assert done.finish_reason == "error" and len(server.log) == 1


def silent() -> socket.socket:
    """A port that refuses every connection, and that nobody else gets as long as this holds it."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


class Nowhere:
    held = silent()
    url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"


def test_a_server_that_is_gone_stops_the_run():
    with pytest.raises(UserError, match="no connection to http://127.0.0.1:.*Is the server running"):
        ask(Nowhere, give_up_after=0.2)


def test_a_server_that_comes_back_in_time_costs_no_row():
    held, done = silent(), []
    port = held.getsockname()[1]

    class Later:
        url = f"http://127.0.0.1:{port}/v1"

    asking = threading.Thread(target=lambda: done.extend(ask(Later, numbered(20), retries=1, give_up_after=60)))
    asking.start()
    time.sleep(0.5)  # many more than one try
    held.close()
    with fault_server(port=port):
        asking.join()
    assert [completion.finish_reason for completion in done] == ["stop"] * 20


def test_the_key_comes_from_the_environment_and_is_sent(monkeypatch):
    with fault_server(key=KEY) as server:
        monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")  # as `$(cat file)` in some shells
        (done,) = ask(server)
        monkeypatch.setenv("OTHER_NAME", KEY)
        monkeypatch.delenv("OPENAI_API_KEY")
        ask(server, api_key_env="OTHER_NAME")
    assert done.finish_reason == "stop"
    assert {entry.headers["Authorization"] for entry in server.log} == {f"Bearer {KEY}"}


def test_a_wrong_key_is_refused_and_not_repeated(monkeypatch, capfd):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with fault_server(key="another") as server, pytest.raises(UserError) as caught:
        ask(server)
    assert "the key in OPENAI_API_KEY is refused" in str(caught.value) and "(key)" in str(caught.value)
    assert KEY not in str(caught.value) + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["api_key_env=sk-abcdefghijkl"], "must be the NAME of an environment variable"),
        (["api_key_env=NOT_SET_AT_ALL"], "the environment variable NOT_SET_AT_ALL is not set"),
        (["base_url=https://api.openai.com/v1"], "OPENAI_API_KEY is not set"),
        (["base_url=https://me:secret9@host/v1"], "base_url holds a secret"),
        (["base_url=https://host/v1?api_key=secret9"], "base_url holds a secret"),
        (["base_url=https://host/sk-secret9secret9/v1"], "base_url holds a secret"),
        (["api_key_env=AIzaSysecret9secret9"], "must be the NAME of an environment variable"),
        (["api_key=secret9"], "'api_key' is no setting=value"),
        (["sk-abcdefghijkl"], "one of the options is no setting=value"),
        (['extra={"headers": {"Authorization": "Bearer secret9"}}'], "extra holds a secret"),
        (['extra={"api_key": "secret9"}'], "extra holds a secret"),
        (['extra={"min_p": NaN}'], "extra is no JSON object"),
        (["timeout=nan"], "timeout is nan"),
        (["timeout=inf"], "timeout is inf"),
        (["requests_per_minute=nan"], "requests_per_minute is nan"),
        (["base_url=localhost:8000"], "base_url is no http"),
        (["extra={min_p: 1}"], "extra is no JSON object"),
        (['extra={"stream": true}'], "extra must not hold 'stream'"),
        (["max_tokens_field=tokens"], "max_tokens_field is auto"),
        (["in_flight=0"], "in_flight is 0; expected 1 or more"),
        (["retries=-1"], "retries is -1"),
        (["timeout=0"], "timeout is 0"),
        (["model="], "model is empty"),
    ],
)
def test_a_wrong_setting_is_one_line_before_anything_is_sent(options, message):
    defaults = [] if any(option.startswith("base_url") for option in options) else [f"base_url={Nowhere.url}"]
    with pytest.raises(UserError, match=message) as caught:
        open_engine("openai", ["model=oracle", *defaults, *options])
    assert "\n" not in str(caught.value)
    assert "secret9" not in str(caught.value) and "sk-abc" not in str(caught.value)


def test_a_key_that_is_no_key_is_not_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "two words")
    with pytest.raises(UserError, match="is no key") as caught:
        open_engine("openai", ["model=oracle", f"base_url={Nowhere.url}"])
    assert "two words" not in str(caught.value)


def test_the_address_is_no_part_of_what_decides_the_answers():
    one = identity("openai", ["model=a", "base_url=http://one/v1", 'extra={"a":1,"b":2}', "in_flight=3"])
    assert one == identity("openai", ["model=a", "base_url=http://two/v1", 'extra={"b": 2, "a": 1}'])
    assert one != identity("openai", ["model=b", 'extra={"a":1,"b":2}'])
    assert one != identity("openai", ["model=a", 'extra={"a":1}'])
    # Before a run.json repeats it.
    for secret in ("api_key_env=sk-abcdefghijkl", "api_key=secret9", 'extra={"api_key": "secret9"}'):
        with pytest.raises(UserError) as caught:
            identity("openai", ["model=a", secret])
        assert "secret9" not in str(caught.value) and "sk-abc" not in str(caught.value)


def test_a_caller_that_stops_asking_leaves_nothing_behind():
    with fault_server(latency_ms=20) as server:
        engine = open_engine("openai", ["model=oracle", f"base_url={server.url}", "in_flight=16"])
        stream = engine.complete(numbered(1_000_000))
        for _ in range(20):
            next(stream)
        stream.close()
        assert len(list(engine.complete(numbered(5)))) == 5
        engine.close()
        assert len(server.log) < 100


def test_a_stream_of_a_closed_engine_does_not_seem_to_be_at_its_end():
    with fault_server(latency_ms=20) as server:
        engine = open_engine("openai", ["model=oracle", f"base_url={server.url}", "in_flight=4"])
        stream = engine.complete(numbered(1000))
        next(stream)
        engine.close()
        assert len(server.log) <= 4 + 4
        with pytest.raises(RuntimeError, match="closed before all its requests were answered"):
            list(stream)
        engine.close()


def test_a_key_that_is_cut_in_two_is_not_shown_either(monkeypatch):
    with fault_server(key=KEY) as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        engine = open_engine("openai", ["model=oracle", f"base_url={server.url}"])
        for before in range(60, 81):
            with pytest.raises(_http.Trouble) as caught:
                engine._server.object(b"x" * before + b" " + KEY.encode())
            assert KEY[:5] not in str(caught.value)
        engine.close()


def test_the_command_ends_well_on_ctrl_c_and_its_files_hold_no_key(tmp_path):
    rows = [{"instruction": "Reverse the list.", "input": f"item{k} {LIST}", "output": ""} for k in range(500)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with fault_server(key=KEY, latency_ms=20) as server:
        command = [sys.executable, "-W", "always::ResourceWarning", "-m", "self_seq.generate", "--engine", "openai"]
        command += ["--input_file", tmp_path / "in.jsonl", "--output_dir", tmp_path / "out"]
        command += ["--engine_options", "model=oracle", f"base_url={server.url}", "in_flight=4"]
        environment = os.environ | {"OPENAI_API_KEY": KEY}
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # see test_concurrent.py
        )
        while len(server.log) < 50 and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 1 and "interrupted: what was finished is kept" in err
        assert not re.search(r"Task was destroyed|Unclosed|never retrieved|Traceback|unclosed", err), err
        asked = len(server.log)
        again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert "500 in = " in again.stdout
        most = 2 * 4  # on their way, and answered at the same moment but not noted yet
        bodies = [entry.body for entry in server.chats()]
        assert len(bodies) - len(set(bodies)) <= most and asked >= 50
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any('"engine": "openai"' in text for text in texts)
    assert all(KEY not in text for text in [out, err, again.stdout, again.stderr, *texts])
