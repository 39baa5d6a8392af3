"""Laws of a watched child. Each child is forked from a small process without torch."""

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

WATCH = """
import json, os, socket, sys
from dataclasses import asdict
from pathlib import Path
from harness.worker import child

{work}

ours, theirs = socket.socketpair()
events = []
try:
    ending = child.run(work, timeout_s={timeout_s}, log=Path({log!r}), on_event=events.append,
                       office=ours)
    print(json.dumps({{"events": events, **asdict(ending)}}))
except child.AbandonedError:
    print(json.dumps({{"abandoned": True, "events": events}}))
"""


def watch(work: str, tmp_path: Path, timeout_s: float = 60.0) -> dict:
    """Run `def work(emit)` in a watched child and return its events and ending."""
    script = WATCH.format(
        work=textwrap.dedent(work), timeout_s=timeout_s, log=str(tmp_path / "log")
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_events_arrive_in_order_and_whole(tmp_path: Path) -> None:
    found = watch(
        """
        def work(emit):
            for i in range(2000):
                emit({"i": i, "text": "x" * (i % 97)})
        """,
        tmp_path,
    )
    assert [event["i"] for event in found["events"]] == list(range(2000))
    assert (found["status"], found["timed_out"]) == (0, False)


def test_a_child_may_ask_for_patience_and_for_haste(tmp_path: Path) -> None:
    found = watch(
        """
        import time

        def work(emit):
            emit({"patience_s": 100})
            time.sleep(0.2)
            emit({"told": True})
            emit({"patience_s": 0.1})
            time.sleep(100)
        """,
        tmp_path,
        timeout_s=0.1,
    )
    assert found["events"] == [{"told": True}]
    assert found["timed_out"]


@pytest.mark.parametrize("code", [0, 1, 9, 255])
def test_the_exit_code_of_a_child_that_just_leaves_is_reported(tmp_path: Path, code: int) -> None:
    found = watch(
        f"""
        def work(emit):
            emit({{"stage": "latency"}})
            os._exit({code})
        """,
        tmp_path,
    )
    assert found["status"] == code
    assert found["events"] == [{"stage": "latency"}]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT", "SIGTERM"])
def test_a_signal_is_reported_as_its_negative_number(tmp_path: Path, name: str) -> None:
    found = watch(
        f"""
        import signal
        def work(emit):
            os.kill(os.getpid(), signal.{name})
            signal.pause()
        """,
        tmp_path,
    )
    assert found["status"] == -signal.Signals[name]


def test_a_child_that_never_ends_is_killed_with_its_descendants(
    tmp_path: Path, until_gone: Callable
) -> None:
    found = watch(
        """
        import signal, subprocess
        def work(emit):
            grandchild = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
            emit({"grandchild": grandchild.pid})
            signal.pause()
        """,
        tmp_path,
        timeout_s=1.0,
    )
    assert found["timed_out"]
    assert found["status"] == -signal.SIGKILL
    until_gone([found["events"][0]["grandchild"]])


def test_a_grandchild_that_holds_the_pipe_open_does_not_hold_up_the_watcher(
    tmp_path: Path, until_gone: Callable
) -> None:
    found = watch(
        """
        import signal
        def work(emit):
            pid = os.fork()
            if pid == 0:
                signal.pause()
            emit({"grandchild": pid})
            os._exit(3)
        """,
        tmp_path,
    )
    assert (found["status"], found["timed_out"]) == (3, False)
    until_gone([found["events"][0]["grandchild"]])


def test_what_a_child_prints_is_kept_and_never_mixed_with_events(tmp_path: Path) -> None:
    found = watch(
        """
        def work(emit):
            print("to standard output")
            os.write(2, b"straight to the descriptor\\n")
            emit({"stage": "x"})
            raise KeyError("spoilt")
        """,
        tmp_path,
    )
    assert found["events"] == [{"stage": "x"}]
    assert found["status"] == 1
    for words in ("to standard output", "straight to the descriptor", "KeyError: 'spoilt'"):
        assert words in found["log_tail"]


def test_the_office_hanging_up_kills_the_child(tmp_path: Path, until_gone: Callable) -> None:
    found = watch(
        """
        import signal
        def work(emit):
            emit({"pid": os.getpid()})
            theirs.close()      # the child's copy
            signal.pause()

        real = child.run
        def run(work, *, on_event, **rest):
            def hear(event):
                on_event(event)
                theirs.close()  # the office's end: nobody holds it now
            return real(work, on_event=hear, **rest)
        child.run = run
        """,
        tmp_path,
    )
    assert found["abandoned"]
    until_gone([found["events"][0]["pid"]])
