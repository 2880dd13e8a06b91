# ruff: noqa: E501 (an attack is easier read in one line)
"""Generated code harms nothing and forges nothing; what is right passes."""

import builtins
import http.server
import io
import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from eval import sandbox
from eval.rooms import wire
from eval.sandbox import Case, Limits
from open_instruct.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
needs_walls = pytest.mark.skipif(bool(sandbox._problem()), reason=f"no sandbox here: {sandbox._problem()}")
PATIENT = Limits(seconds=20.0)  # for a machine that is busy
BRIEF = Limits(seconds=2.0)
IO_SETUP = {"x86_64": 206}.get(platform.machine(), 0)  # asm/unistd.h of Linux


def verdict(program, tests, *names, limits=PATIENT, setup=""):
    (found,) = sandbox.run([Case(textwrap.dedent(program), textwrap.dedent(tests), names or ("f",), setup)], limits)
    return found


@needs_walls
@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(x): return x + 1", "assert f(1) == 2"),
        ("import math\ndef f(x): return math.sqrt(x)", "assert abs(f(2) - 1.41421356) < 1e-6"),
        ("def f(): return [1, (2.5, None), {'a': {3, 4}}, b'x', 1j, 10**5000, '\\ud800é']",
         "assert f() == [1, (2.5, None), {'a': {3, 4}}, b'x', 1j, 10**5000, '\\ud800é']"),
        ("from collections import Counter, namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return Counter('aab'), P(1, 2)",
         "assert f() == ({'a': 2, 'b': 1}, (1, 2))"),
        ("from decimal import Decimal\nfrom fractions import Fraction\ndef f(): return Decimal('0.1'), Fraction(1, 3)",
         "from decimal import Decimal\nfrom fractions import Fraction\nassert f() == (Decimal('0.1'), Fraction(1, 3))"),
        ("def f(n): return (i * i for i in range(n))", "assert list(f(4)) == [0, 1, 4, 9]"),
        ("def f(d): return d.keys(), d.items()", "assert f({'a': 1}) == ({'a'}, {('a', 1)})"),
        ("def f(x):\n    raise KeyError(x)", "try:\n    f('a')\n    assert False, 'no error'\nexcept KeyError:\n    pass"),
        ("calls = []\ndef f(x):\n    calls.append(x)\n    return calls", "f(1)\nassert f(2) == [1, 2]"),
        ("def f(*a, **k): return a, k", "assert f(1, action=2, self=3) == ((1,), {'action': 2, 'self': 3})"),
        ("f = lambda: [True, False, 0]", "assert f()[0] is True and f()[2] is not False"),
    ],
)  # fmt: skip
def test_right_programs_pass(program, tests):
    assert verdict(program, tests) == sandbox.Verdict(True)


@needs_walls
def test_tests_may_build_objects_of_the_programs_classes():
    program = """
        class Node:
            def __init__(self, data):
                self.data, self.left = data, None
        def depth(node):
            return 0 if node is None else 1 + depth(node.left)
    """
    tests = "root = Node(1)\nroot.left = Node(2)\nassert root.left.data == 2 and root.left is root.left\n"
    assert verdict(program, tests + "assert depth(root) == 2", "Node", "depth").passed
    assert not verdict(program, tests + "assert depth(root) == 3", "Node", "depth").passed


@needs_walls
def test_helpers_of_the_setup_are_not_the_programs():
    program = "def helper(x): return 0\ndef f(x): return x"
    setup = "def helper(x): return x - 1\ndef f(x): pass"
    assert verdict(program, "assert helper(f(1)) == 0", setup=setup).passed
    assert verdict(program, "assert helper(f(2)) == 0", setup=setup).reason == "failed: AssertionError: "
    assert verdict("", "f(1)", setup=setup).reason == "failed: NameError: name 'f' is not defined"


@needs_walls
@pytest.mark.parametrize(
    "program", ["def f(): return 2", "def g(): return 1", "def f(: return 1", "f = 1", "raise ValueError", "", "import nothing"]
)  # fmt: skip
def test_wrong_programs_fail(program):
    found = verdict(program, "assert f() == 1")
    assert not found.passed and found.reason.startswith("failed: ")


@needs_walls
def test_numpy_is_there_where_the_environment_has_it():
    assert verdict("import numpy\ndef f(): return numpy.arange(4).sum()", "assert f() == 6").passed


# ---- forging: the tests want a value that stands in them alone, so that whatever passes has broken a wall

SECRET = "only the tests know this"
FORGERIES = {
    "exit before the test": "import os\nos._exit(0)",
    "exit in the call": "import os\ndef f(): os._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "SystemExit in the call": "def f(): raise SystemExit(0)",
    "StopIteration in the call": "def f(): raise StopIteration",
    "KeyboardInterrupt in the call": "def f(): raise KeyboardInterrupt",
    "equal to everything": """
        class Same(str):
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __hash__(self): return 0
        def f(): return Same()""",
    "an object equal to everything": """
        class Same:
            def __eq__(self, other): return True
            def __getattr__(self, name): return lambda *a: True
        def f(): return Same()""",
    "an exception that is no one's": "class E(BaseException): pass\ndef f(): raise E",
    "assertions switched off": """
        import builtins, sys
        builtins.AssertionError = type('Quiet', (Exception,), {})
        builtins.__build_class__ = builtins.compile = builtins.exec = lambda *a, **k: None
        sys.excepthook = lambda *a: None
        def f(): return ''""",
    "a printed verdict": "print('passed')\nimport sys\nsys.stderr.write('passed')\ndef f(): print('passed')",
    "a verdict on every channel": """
        import os, wire
        said = b''.join(len(b).to_bytes(4, 'big') + b for b in map(wire.encode, [('begun', ''), ('passed', '')]))
        def f():
            for fd in range(256):
                try: os.write(fd, said)
                except OSError: pass
            os._exit(0)""",
    "the checker patched": """
        import judge, wire, room, sys
        judge._judged = lambda *a: ('passed', '')
        judge.main = wire.receive = wire.send = lambda *a: ('passed', '')
        def f(): return 'passed'""",
    "the checker overwritten": """
        import os
        for folder in ('/rooms', '/python/lib/python3.11', '/usr/lib', '/tmp'):
            for name in ('judge.py', 'program.py', 'wire.py', 'room.py', 'sitecustomize.py'):
                try: open(os.path.join(folder, name), 'w').write('import os; os._exit(0)')
                except OSError: pass
        def f(): return ''""",
    "at exit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(): raise SystemExit",
    "the secret in memory": """
        import gc, sys
        def f():
            for one in gc.get_objects():
                if isinstance(one, str) and one.startswith('only the tests'): return one
            frame = sys._getframe()
            while frame:
                for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
                    if isinstance(value, (str, bytes)) and 'only the ' + 'tests know' in str(value): return str(value)
                frame = frame.f_back
            return open('/proc/self/mem', 'rb').read()""",
    "the secret in files": """
        import os
        def f():
            for folder, _, names in os.walk('/'):
                for name in names:
                    if folder.startswith(('/usr', '/lib', '/python/lib/python3', '/packages')): continue
                    try: text = open(os.path.join(folder, name), 'rb').read(1 << 20).decode(errors='replace')
                    except OSError: continue
                    at = text.find('only the ' + 'tests')
                    if at >= 0: return text[at:at + 24]""",
    "the destructor": "import os\nclass D:\n    def __del__(self): os._exit(0)\ndef f():\n    D()\n    return ''",
    "an error that will not be read": """
        class E(Exception):
            def __str__(self): raise SystemExit(0)
            __repr__ = __str__
        def f(): raise E""",
    "answers ahead of the calls": """
        import os, wire
        said = wire.encode(('value', ''))
        def f():
            for fd in range(3, 64):
                try: os.write(fd, (len(said).to_bytes(4, 'big') + said) * 50)
                except OSError: pass
            return ''""",
    "what other channels hold": """
        import os
        def f():
            found = b''
            for fd in range(64):
                try:
                    os.set_blocking(fd, False)
                    found += os.read(fd, 1 << 20)
                except OSError: pass
            return found.decode(errors='replace')""",
    "not a number": "def f(): return float('nan')",
    "a false Decimal": """
        class Decimal:
            def __str__(self): return 'sNaN'
        Decimal.__module__ = 'decimal'
        def f(): return Decimal()""",
    "an object that is not there": "import wire\ndef f(): return wire.Handle(2 ** 62)",
    "a thread that ends it": """
        import os, threading, time
        threading.Thread(target=lambda: (time.sleep(0.2), os._exit(0))).start()
        def f(): return ''""",
    "a process that lives on": """
        import os
        if os.fork():
            os._exit(0)
        def f(): return ''""",
    "the parent killed": """
        import os, signal
        def f():
            for pid in (os.getppid(), 1, 0, -1):
                try: os.kill(pid, signal.SIGKILL)
                except OSError: pass""",
    "a crash": "import ctypes\ndef f(): ctypes.string_at(0)",
    "a long answer": "def f(): return 'x' * (64 << 20)",
    "a deep answer": "def f():\n    x = []\n    for _ in range(10000): x = [x]\n    return x",
    "a long message": "import os\ndef f():\n    for fd in range(3, 64):\n        try: os.write(fd, b'\\xff' * 64)\n        except OSError: pass",
    "a bare end": "import os\nos.closerange(0, 256)",
}  # fmt: skip


@needs_walls
def test_no_forgery_passes():
    tests = [
        f"assert f() == {SECRET!r}",
        f"assert all(map(lambda wanted: f() == wanted, [{SECRET!r}] * 2))",  # a StopIteration would end it, and pass
        f"ok = False\ntry:\n    ok = f() == {SECRET!r}\nexcept BaseException:\n    pass\nassert ok",
    ]
    cases = [Case(textwrap.dedent(program), test, ("f",)) for program in FORGERIES.values() for test in tests]
    honest = Case(f"def f(): return {SECRET!r}", tests[2], ("f",))
    *found, control = sandbox.run([*cases, honest], PATIENT)
    assert control.passed
    names = [name for name in FORGERIES for _ in tests]
    assert [name for name, one in zip(names, found, strict=True) if one.passed] == []


@needs_walls
def test_what_never_ends_is_stopped():
    endless = {
        "sleeps": "import time\ntime.sleep(1000)",
        "loops": "def f():\n    while True: pass",
        "catches all": "import signal\ndef f():\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        "is deaf": "import signal, time\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\ntime.sleep(1000)",
        "stops itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "writes": "def f():\n    while True: print('x' * 100000)",
        "gives endlessly": "def f():\n    while True: yield 1",
    }  # fmt: skip
    tests = f"assert list(f()) == {SECRET!r}"
    found = sandbox.run([Case(program, tests, ("f",)) for program in endless.values()], BRIEF)
    assert [one.passed for one in found] == [False] * len(endless)
    assert [one.reason for one in found[:-1]] == ["timed out"] * (len(endless) - 1)  # the last may run out of memory


@needs_walls
def test_tests_that_catch_everything_do_not_outlive_the_time():
    tests = "while True:\n    try:\n        f()\n        break\n    except BaseException:\n        break"
    assert verdict("import time\ndef f(): time.sleep(1000)", tests, limits=BRIEF).reason == "timed out"


# ---- harm: each program returns "held" where its attack failed, so a pass shows that it ran and was held

HELD = """
def f(*arguments):
    try:
        return attack(*arguments) or 'harmed'
    except (OSError, MemoryError, RuntimeError) as error:
        return 'held'
"""


def held(attack, *arguments, limits=PATIENT):
    sent = ", ".join(map(repr, arguments))
    return verdict(textwrap.dedent(attack) + HELD, f"found = f({sent})\nassert found == 'held', found", limits=limits)


@needs_walls
def test_the_network_is_away():
    reached = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            reached.append(self.path)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        attack = "import socket\ndef attack(port): socket.create_connection(('127.0.0.1', port), 2).send(b'GET / HTTP/1.0\\r\\n\\r\\n')"
        assert held(attack, server.server_address[1]) == sandbox.Verdict(True)
        for kind in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_VSOCK", "AF_PACKET"):
            attack = f"import socket\ndef attack(): socket.socket(socket.{kind}, socket.SOCK_DGRAM)"
            assert held(attack) == sandbox.Verdict(True), kind
        server.shutdown()
    assert reached == []


@needs_walls
def test_files_of_the_host_are_neither_read_nor_written(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("of the user")
    read = "def attack(path): return open(path).read()"
    for path in ("/etc/shadow", "/etc/passwd", "/proc/1/environ", tmp_path / "secret", __file__, sys.executable):
        assert held(read, str(path)) == sandbox.Verdict(True), path
    walk = "import os\ndef attack(path): return os.listdir(path)"
    for path in {str(Path.home()), str(ROOT), "/home", "/root", "/etc", "/proc", "/sys", "/mnt", "/var"}:
        assert held(walk, path) == sandbox.Verdict(True), path
    write = "def attack(path): open(path, 'w').write('x')"
    for path in (tmp_path / "new", "/new", "/usr/lib/new", "/rooms/new", "/python/lib/new", "/dev/new", "/dev/shm/new"):
        assert held(write, str(path)) == sandbox.Verdict(True), path
    assert os.listdir(tmp_path) == ["secret"]
    monkeypatch.setenv("SECRET_KEY", "of the user")
    assert verdict("import os\ndef f(): return dict(os.environ)", "assert 'SECRET_KEY' not in f()").passed


@needs_walls
def test_tmp_is_private_empty_and_small():
    program = (
        "import os\ndef f():\n    before = os.listdir('/tmp')\n    open('/tmp/mine', 'w').write('x')\n    return before"
    )
    assert verdict(program, "assert f() == []").passed
    assert verdict(program, "assert f() == []").passed  # nor is the one of before there
    fill = """
        def attack():
            for number in range(40):
                with open(f'/tmp/{number}', 'wb') as file: file.write(bytes(1 << 20))"""
    assert held(fill, limits=Limits(20.0, file_size=2 << 20)) == sandbox.Verdict(True)


@needs_walls
def test_memory_is_bounded_inside_and_outside_of_the_process():
    for attack in (
        "def attack(): bytearray(10 << 30)",
        "def attack():\n    kept = []\n    while True: kept.append(bytearray(1 << 20))",
        "import mmap\ndef attack(): mmap.mmap(-1, 10 << 30)",
        "import os\ndef attack(): os.memfd_create('x')",
        "import ctypes\ndef attack():\n    if ctypes.CDLL(None).shmget(0, 1 << 30, 0o1600) < 0: raise OSError",
        "def attack():\n    with open('/tmp/x', 'wb') as file:\n        for _ in range(20): file.write(bytes(1 << 20))",
    ):
        assert held(attack) == sandbox.Verdict(True), attack


@needs_walls
def test_nothing_but_tmp_can_be_written_whoever_runs_it(monkeypatch):
    """Files that bubblewrap makes belong to the room's user where root does not lend it a number."""
    program = """
        import os
        def f():
            found = []
            for folder, _, _ in os.walk('/'):
                try:
                    open(f'{folder}/new', 'w').close()
                    found.append(folder)
                except OSError: pass
            return found, os.uname().nodename"""
    tests, long = "assert f() == (['/tmp'], 'room'), f()", Limits(seconds=120.0)  # thousands of folders, on any disk
    assert verdict(program, tests, limits=long) == sandbox.Verdict(True)
    monkeypatch.setattr(sandbox, "_free_user", lambda: 0)
    try:
        found = verdict(program, tests, limits=long)
    except UserError as error:
        pytest.skip(f"no user namespaces here: {error}")
    assert found == sandbox.Verdict(True)


@needs_walls
def test_a_program_too_long_to_be_sent_fails_alone():
    long, short = sandbox.run(
        [Case("#" * (17 << 20), "pass"), Case("def f(): return 1", "assert f() == 1", ("f",))], PATIENT
    )
    assert (long.passed, long.reason, short.passed) == (False, "the program is too long", True)


def test_root_of_a_namespace_without_other_users_lends_no_number(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for users, lends in ((1, False), (65536, True), (4294967295, True)):
        monkeypatch.setattr(builtins, "open", lambda path, users=users: io.StringIO(f"0 1000 {users}\n"))
        assert bool(sandbox._free_user()) is lends
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert sandbox._free_user() == 0


@needs_walls
def test_rights_are_gone():
    for attack in (
        "import os\ndef attack(): os.setuid(0)",
        "import resource\ndef attack():\n    try: resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n    except ValueError: raise OSError",
        "import ctypes\ndef attack():\n    if ctypes.CDLL(None).unshare(0x10000000) < 0: raise OSError",
        "import ctypes\ndef attack():\n    if ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, 0) < 0: raise OSError",
        "import ctypes\ndef attack():\n    if ctypes.CDLL(None).syscall(56, 0x10000011, 0, 0, 0, 0) < 0: raise OSError",
        "import subprocess\ndef attack(): subprocess.run(['/bin/sh', '-c', 'true'])",
        "import ctypes\ndef attack():\n    if ctypes.CDLL(None).klogctl(10, None, 0) < 0: raise OSError",  # the kernel's log
        f"import ctypes\ndef attack():\n    if ctypes.CDLL(None).syscall({IO_SETUP}, 9, ctypes.byref(ctypes.c_ulong())) < 0: raise OSError",
    ):  # fmt: skip
        assert held(attack) == sandbox.Verdict(True), attack
    assert verdict("import os\ndef f(): return os.getuid()", "assert f() != 0").passed


@needs_walls
def test_a_room_is_one_process_with_few_threads():
    fork = """
        import os, time
        def attack():
            if os.fork() == 0:
                os.setsid()
                time.sleep(1000)"""
    thread = """
        import threading, time
        def attack():
            for _ in range(20): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"""
    limits = Limits(20.0, memory=(512 << 20) + os.getpid())  # a number by which its processes are known
    for attack in (fork, thread, "import subprocess, sys\ndef attack(): subprocess.run([sys.executable, '-c', ''])"):
        assert held(attack, limits=limits) == sandbox.Verdict(True), attack
    few = "import threading\ndef f():\n    one = threading.Thread(target=print)\n    one.start()\n    one.join()\n    return 1"
    assert verdict(few, "assert f() == 1", limits=limits).passed
    blast = "import os, threading\ndef f():\n    while True:\n        for make in (os.fork, threading.Thread(target=f).start):\n            try: make()\n            except Exception: pass"
    assert not verdict(blast, "f()", limits=Limits(1.0, memory=limits.memory)).passed
    assert gone(limits)


@needs_walls
def test_rooms_end_with_the_process_that_made_them():
    limits = Limits(300.0, memory=(520 << 20) + os.getpid())
    code = (
        "from eval import sandbox\n"
        "case = sandbox.Case('import time\\ntime.sleep(1000)', 'pass')\n"
        f"sandbox.run([case], sandbox.Limits({limits.seconds}, memory={limits.memory}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        until = time.monotonic() + 120
        while len(found := running(limits)) < 4 and parent.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        # Both rooms, each with its keeper. Not counted again: what becomes another program shows no words for a moment.
        assert len(found) >= 4
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert gone(limits)


def running(limits):
    """Processes of rooms with these limits."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(limits.memory).encode() in words:
            found.append(path)
    return found


def gone(limits):
    until = time.monotonic() + 60
    while running(limits) and time.monotonic() < until:
        time.sleep(0.1)
    return not running(limits)


@needs_walls
def test_a_plain_user_has_the_same_walls():
    python = "/usr/bin/python3"
    if os.geteuid() != 0 or not os.access(python, os.X_OK):
        pytest.skip("not root, or no interpreter that others may use: the tests above ran as a plain user, or cannot")
    right, wanted = f"def f(): return {SECRET!r}", f"assert f() == {SECRET!r}"
    code = f"""
import sys
if sys.version_info < (3, 11): print('old'); sys.exit()
from eval import sandbox
attacks = {list(FORGERIES.values())!r}
import textwrap
cases = [sandbox.Case(textwrap.dedent(one), {wanted!r}, ('f',)) for one in attacks]
cases.append(sandbox.Case({right!r}, {wanted!r}, ('f',)))
held = {HELD!r}
for one in ("import os\\ndef attack(): os.listdir('/home')", "import socket\\ndef attack(): socket.socket()",
            "def attack(): bytearray(10 << 30)", "import os\\ndef attack():\\n    for _ in range(50):\\n"
            "        if os.fork() == 0:\\n            import time; time.sleep(9)"):
    cases.append(sandbox.Case(one + held, "assert f() == 'held'", ('f',)))
print([one.passed for one in sandbox.run(cases, sandbox.Limits(20.0))])
"""
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, user=65534, group=65534, extra_groups=[], cwd="/",
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    if "old" in done.stdout or "PermissionError" in done.stderr or "No module named 'eval'" in done.stderr:
        pytest.skip(f"the checkout or a new interpreter is not open to others: {done.stdout}{done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([False] * len(FORGERIES) + [True] * 5)


# ---- without bubblewrap


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A PATH with nothing but what a test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(sandbox.UNSANDBOXED_VARIABLE, raising=False)
    sandbox._problem.cache_clear()
    yield tmp_path
    sandbox._problem.cache_clear()


def test_without_bubblewrap_nothing_runs(path):
    marker = path / "ran"
    with pytest.raises(UserError, match="bubblewrap is not installed .*--allow_unsandboxed_code"):
        sandbox.run([Case(f"open({str(marker)!r}, 'w')", "pass")])
    assert not marker.exists()


def test_a_bubblewrap_that_does_not_work_is_told(path):
    (path / "bwrap").write_text("#!/bin/sh\necho bwrap: no namespaces here >&2\nexit 1\n")
    (path / "bwrap").chmod(0o755)
    with pytest.raises(UserError, match="does not work here .bwrap: no namespaces here"):
        sandbox.require()


@pytest.mark.parametrize("broken", [False, True])
def test_code_without_walls_runs_if_it_is_allowed(path, monkeypatch, broken):
    if broken:
        (path / "bwrap").write_text("#!/bin/sh\nexit 1\n")
        (path / "bwrap").chmod(0o755)
    monkeypatch.setenv(sandbox.UNSANDBOXED_VARIABLE, "1")
    sandbox.require()
    programs = ["def f(): return 1", "def f(): return 2", "import os\nos._exit(0)", "import time\ntime.sleep(1000)"]
    found = sandbox.run([Case(program, "assert f() == 1", ("f",)) for program in programs], Limits(seconds=3.0))
    assert [one.passed for one in found] == [True, False, False, False]


# ---- what passes between the rooms


@pytest.mark.parametrize("value", [None, True, 0, -1, 255, -(2**200), 1.5, float("inf"), 2j, "é\ud800", b"\0", [], [[1], (2,)],
                                   {1: {2}}, frozenset({"a"}), range(1, 9, 2), bytearray(b"x")])  # fmt: skip
def test_values_come_over_as_they_are(value):
    found = wire.decode(wire.encode(value))
    assert found == value and type(found) is type(value)


def test_damaged_messages_are_refused():
    whole = wire.encode([1, "two", {3.0: (None, b"4")}])
    assert wire.decode(whole)
    for cut in range(len(whole)):
        with pytest.raises(wire.Malformed):
            wire.decode(whole[:cut])
    for body in (
        b"l\xff\xff\xff\xff",
        b"?",
        b"l" + b"\0\0\0\1" * 500,
        b"NN",
        wire.encode({1: 2})[:-4],
        b"x\0\0\0\3abc",
    ):
        with pytest.raises(wire.Malformed):
            wire.decode(body)
    with pytest.raises(wire.Malformed):
        wire.encode(object())
