"""Signals and time limits turn into requests; in processes of their own, which import little."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from project import interrupts
from training import stopping
from training.stopping import ENDING_SECONDS, SIGNALS, StopRequest, stop_requests

ROOT = Path(__file__).parents[2]
# Says "ready", does WORK, waits until it is asked to stop, and ends as a training does.
CHILD = """
import hashlib, os, signal, sys, time
from commands.errors import clear_errors
from project import interrupts
from project.errors import Interrupted
from training.stopping import SIGNALS, stop_requests
for number in SIGNALS:  # a shell in the background ignores some
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
BEFORE
with clear_errors(), stop_requests() as stop:
    print("ready", flush=True)
    WORK
    while not stop:
        time.sleep(0.01)
    print("saved", flush=True)
    raise Interrupted("Stopped. The state is saved.")
"""
FOREVER = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"  # Python runs no handler within it
ONE_SIGNAL = "saving the state and stopping. Once more stops at once."


@pytest.fixture
def child():
    """Returns a function (work, before) -> a started process that is ready."""
    started = []

    def start(work="", before=""):
        code = CHILD.replace("WORK", work).replace("BEFORE", before)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **streams)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_request_and_a_second_acts_at_once(child, number):
    process = child()
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 75
    assert output.splitlines()[0] == "saved" and "Run the same command again" in output
    assert errors.splitlines() == ["", f"{number.name}: {ONE_SIGNAL}"]

    process = child(FOREVER, "interrupts.ECHO_SECONDS = 0.1")
    process.send_signal(number)
    assert process.stderr.readline() == "\n" and ONE_SIGNAL in process.stderr.readline()
    time.sleep(0.2)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number and output == ""
    assert errors.splitlines() == [
        "",
        f"{number.name}: stopped at once. The last saved state is kept.",
    ]


def test_a_signal_that_comes_twice_at_once_is_one(child):
    """As `timeout` sends it: to the process, and to its group."""
    process = child("for _ in range(10**7): pass")
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
        time.sleep(0.05)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and output.startswith("saved")
    assert errors.count("SIG") == 1


def test_what_is_ignored_stays_ignored(child):
    process = child(before="signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and "SIGHUP" not in errors


def test_everything_is_as_before_afterwards():
    before = [signal.getsignal(number) for number in SIGNALS]
    threads = threading.enumerate()
    with stop_requests() as stop:
        assert not stop and stop.signal is None
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert threading.enumerate() == threads
    assert signal.set_wakeup_fd(-1) == -1


@pytest.fixture
def clock(monkeypatch):
    """Puts a clock that is set by hand into the module; the job started at 1000 s."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(interrupts, "STARTED", 1000.0)
    return clock


def after(clock, seconds, stop):
    clock.now += seconds
    return bool(stop)


def test_the_time_is_up_while_two_of_the_longest_intervals_still_fit_in(clock):
    stop = StopRequest(max_minutes=5.0)
    # The first interval is the compilation; then one of 20 s, with a save, and others of 1 s.
    asked = [after(clock, seconds, stop) for seconds in (90.0, 20.0)]
    while not after(clock, 1.0, stop):
        asked.append(False)
    assert not any(asked)
    assert clock.now == 1000.0 + 5 * 60 - 2 * 20 - ENDING_SECONDS
    assert after(clock, 1.0, stop)
    assert stop.reason() == "in time for max_minutes=5, 4.2 minutes after the start"


def test_without_a_limit_time_does_not_count(clock):
    stop = StopRequest()
    assert not any(after(clock, 1e6, stop) for _ in range(3))
    # Another process has asked.
    assert stop.reason().startswith("at the request of another worker, ")


def test_the_time_counts_from_the_start_of_the_job(monkeypatch):
    now = time.monotonic()
    assert now <= interrupts.start_of_job() <= time.monotonic()
    monkeypatch.setenv("DSMNET_JOB_STARTED", str(int(time.time()) - 3600))
    assert now - 3602 <= interrupts.start_of_job() <= time.monotonic() - 3600 + 2
