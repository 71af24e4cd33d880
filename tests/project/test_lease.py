"""Leases between real processes, some of which are killed or suspended.

That a process is on another machine is simulated by what it says of itself: `replace(holder, ...)`.
"""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from project import lease
from project.lease import HeldError, LeaseError, acquire, beside, this_process

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"host": "node2", "boot": "another"}  # as this machine's name, start and processes
# Takes a lease, then obeys the lines that it is sent.
HOLDER = """
import dataclasses, json, resource, sys
from pathlib import Path
from project.lease import LeaseError, acquire, this_process
path, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
me = dataclasses.replace(this_process(), **changes)
held = acquire(path, "the folder is in use", interval=0.05, stale=1.0, me=me)
print("held", flush=True)
for line in sys.stdin:
    try:
        if line == "fill the disk\\n":
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        held.release() if line == "release\\n" else held.check()
        print("ok", flush=True)
    except LeaseError as error:
        print(error, flush=True)
"""
# Takes the lease again and again; says if another process has it, too.
RIVAL = """
import os, sys, time
from pathlib import Path
from project.lease import HeldError, acquire
path, got = Path(sys.argv[1]), 0
end = time.monotonic() + 60
while got < 5 and time.monotonic() < end:
    try:
        with acquire(path, "it is in use", interval=0.05, stale=1.0) as held:
            mark = os.open(path.with_name("mark"), os.O_CREAT | os.O_EXCL)
            held.check()
            time.sleep(0.002)
            path.with_name("mark").unlink()
            os.close(mark)
        got += 1
    except HeldError:
        time.sleep(0.001)
print(got)
"""


class Process:
    """A process that holds a lease until it is told otherwise."""

    def __init__(self, path, *before, **changes):
        command = [*before, sys.executable, "-c", HOLDER, str(path), json.dumps(changes)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.popen = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        assert "held\n" in self.popen.stdout  # up to this line

    def tell(self, line):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        return self.popen.stdout.readline().strip()

    def check(self):
        return self.tell("check")

    def kill(self):
        """Kills it, but does not ask for its status: it stays in the list of processes."""
        os.kill(self.popen.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.popen.pid, os.WEXITED | os.WNOWAIT)


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".mtl.lease"


@pytest.fixture
def start(path):
    """Returns a function (changes) -> `Process` that holds the lease."""
    with contextlib.ExitStack() as stack:

        def run(*before, **changes):
            process = Process(path, *before, **changes)
            stack.callback(process.popen.communicate)
            stack.callback(process.popen.kill)
            return process

        yield run


def take(path, wait=True, stale=20.0, **changes):
    me = replace(this_process(), **changes)
    return acquire(path, "it is in use", wait, interval=0.05, stale=stale, me=me)


def test_a_second_process_is_refused_and_the_holder_named(path, start, tmp_path):
    first = start(user="ann", command="train_mtl.py --mtl_epochs=3", job="71")
    with pytest.raises(HeldError) as refused:
        take(path)
    told = str(refused.value)
    assert f"it is in use by process {first.popen.pid} on {this_process().host} (of ann" in told
    assert "Slurm job 71, since 2" in told and ": train_mtl.py --mtl_epochs=3)" in told
    assert first.check() == "ok" and first.tell("release") == "ok"
    assert not list(tmp_path.iterdir())
    take(path).release()


def test_a_killed_process_gives_way_at_once(path, start, tmp_path):
    start().kill()
    with take(path, wait=False) as held:
        held.check()
    assert not list(tmp_path.iterdir())


def test_a_process_that_has_got_the_number_of_a_killed_one_holds_nothing(path):
    path.write_bytes(replace(this_process(), started="1").content(4))
    take(path, wait=False).release()


def test_an_error_releases_the_lease(path, tmp_path):
    with pytest.raises(ZeroDivisionError), take(path):
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())


def test_a_process_elsewhere_that_lives_is_refused(path, start, capsys):
    first = start(**ELSEWHERE)
    with pytest.raises(HeldError, match="on node2"):
        take(path, wait=False)
    assert capsys.readouterr().out == ""
    with pytest.raises(HeldError, match="on node2"):
        take(path)
    assert "Waiting up to 20 seconds for a sign that it still runs" in capsys.readouterr().out
    assert first.check() == "ok"


def test_a_process_elsewhere_without_heartbeat_gives_way(path, start, capsys):
    start(**ELSEWHERE).kill()
    with take(path, stale=1.0) as held:
        held.check()
    assert "There was none: going on in its place" in capsys.readouterr().out


@pytest.mark.parametrize("space", ["--uts", "--pid"])
def test_another_container_counts_as_another_machine(path, start, space):
    unshare = ["unshare", *(["--user", "--map-root-user"] if os.getuid() else []), space, "--fork"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("this system does not let a test make namespaces")
    name = ["sh", "-c", 'hostname inner; exec "$@"', "sh"] if space == "--uts" else []
    first = start(*unshare, "--kill-child", *name)
    with pytest.raises(HeldError):
        take(path)  # the number of its process means another one here, or none
    assert first.check() == "ok"
    first.kill()
    take(path, stale=1.0).release()


def test_a_suspended_process_that_was_replaced_notices_it(path, start):
    first = start(**ELSEWHERE)
    os.kill(first.popen.pid, signal.SIGSTOP)
    second = start()
    os.kill(first.popen.pid, signal.SIGCONT)
    told = first.check()
    assert f"the folder is in use by process {second.popen.pid} " in told and "suspended" in told
    assert first.tell("release") == "ok" and second.check() == "ok"


def test_a_suspended_process_that_nobody_replaced_goes_on(path, start):
    first = start()
    os.kill(first.popen.pid, signal.SIGSTOP)
    os.kill(first.popen.pid, signal.SIGCONT)
    assert first.check() == "ok"


def test_a_removed_lease_is_lost(path, start):
    first = start()
    path.unlink()
    assert f"{path} is gone: another process took over" in first.check()
    take(path).release()


def test_a_full_disk_loses_no_lease(path, start):
    first = start()
    assert first.tell("fill the disk") == "ok" and first.check() == "ok"
    with pytest.raises(HeldError):
        take(path)


JOB = {"job": "71", "step": "0", "task": "0"}


@pytest.mark.parametrize(
    ("holder", "mine", "at_once"),
    [
        (JOB | ELSEWHERE, JOB, True),  # requeued, without a count
        (JOB | ELSEWHERE, JOB | {"restart": 1}, True),
        (JOB | {"host": "inner"}, JOB | {"restart": 1, "step": "1"}, True),  # the same machine
        (JOB | ELSEWHERE | {"task": "1"}, JOB, False),  # another process of srun
        (JOB | ELSEWHERE | {"step": "1"}, JOB, False),
        (JOB | ELSEWHERE | {"restart": 2}, JOB | {"restart": 1, "task": "1"}, False),
        (JOB | {"namespace": "inner"}, JOB, False),  # a container beside this one
        (JOB, JOB, False),
        (JOB, JOB | {"task": "1"}, False),
        (JOB | ELSEWHERE | {"job": "72"}, JOB, False),
        (ELSEWHERE, {}, False),
    ],
)
def test_a_slurm_job_takes_over_only_from_itself(path, holder, mine, at_once):
    path.write_bytes(replace(this_process(), **holder).content(7))
    with contextlib.nullcontext() if at_once else pytest.raises(HeldError):
        take(path, wait=False, **mine).release()


def test_slurms_variables_and_odd_ones_are_read(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "71")
    monkeypatch.setenv("SLURM_PROCID", "2")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "3")
    me = this_process()
    assert (me.job, me.step, me.task, me.restart) == ("71", "", "2", 3)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "none")
    assert this_process().restart == 0


def test_a_damaged_lease_is_one_without_heartbeat(path, capsys):
    path.touch()  # by a process that was killed, or found no room, before it could write
    with pytest.raises(HeldError, match="it is in use by another process"):
        take(path, wait=False)
    with take(path, stale=1.0) as held:
        held.check()
    assert "is damaged" in capsys.readouterr().out


WHOLE = json.loads(this_process().content(0))


@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 40,
        b"\xff",
        b"[" * 10000,
        b"[]",
        b'{"token": "a"}',
        *(json.dumps(WHOLE | {"pid": pid}).encode() for pid in ("x", None, [])),
    ],
)
def test_damage_of_any_kind_is_noticed(path, content):
    path.write_bytes(content)
    lease.refuse_live(path, "it is in use")
    with pytest.raises(HeldError, match="it is in use by another process"):
        take(path, wait=False)


def test_a_message_stays_on_one_line(path):
    path.write_bytes(replace(this_process(), user="ann\nerror:", command="a\n" * 999).content(0))
    with pytest.raises(HeldError) as refused:
        take(path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


def test_only_one_of_many_gets_the_lease_of_a_killed_one(path, start, tmp_path):
    for changes in ({}, ELSEWHERE):
        start(**changes).kill()
        command = [sys.executable, "-c", RIVAL, str(path)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        rivals = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(4)]
        told = [rival.communicate()[0] for rival in rivals]
        assert [text.splitlines()[-1:] for text in told] == [["5"]] * 4, told
        assert not list(tmp_path.iterdir())


def test_a_live_lease_that_is_taken_by_mistake_is_put_back(path, monkeypatch):
    killed, read = replace(this_process(), started="1").content(0), lease._read
    with take(path) as held:
        # As another process sees it that looked before this one took the lease over.
        monkeypatch.setattr(lease, "_read", lambda path: killed)
        lease._take_away(path, killed)
        monkeypatch.setattr(lease, "_read", read)
        held.check()
        with pytest.raises(HeldError):
            take(path)


def test_a_lease_that_is_away_for_a_moment_is_not_lost(path):
    with take(path) as held:
        path.rename(path.with_name("away"))
        back = threading.Timer(0.2, path.with_name("away").rename, [path])
        back.start()
        held.check()
        back.join()


def test_a_disk_without_links_has_leases_too(path, start, monkeypatch, tmp_path):
    def refuse(*names):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with take(path) as held:
        held.check()
        with pytest.raises(HeldError):
            take(path)
    assert not list(tmp_path.iterdir())
    start().kill()
    take(path).release()


def test_a_link_that_nfs_makes_twice_counts(path, monkeypatch):
    link = os.link

    def twice(*names):
        link(*names)
        link(*names)

    monkeypatch.setattr(os, "link", twice)
    take(path).release()


def test_a_folder_without_room_for_a_lease_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LeaseError, match="file/.mtl.lease, which .* cannot be written .*File exis"):
        take(tmp_path / "file" / ".mtl.lease")


def test_folders_are_held_together_or_not_at_all(tmp_path):
    weights, results = tmp_path / "ck" / "mtl", tmp_path / "out" / "mtl"
    with take(beside(results)), pytest.raises(HeldError, match="out/mtl is in use"):
        with lease.held_folders(weights, results):
            pass
    assert not list((tmp_path / "ck").iterdir())
    with lease.held_folders(weights, weights) as held:
        assert [one.path for one in held] == [tmp_path / "ck" / ".mtl.lease"]


def test_a_linked_folder_is_held_under_both_names(tmp_path):
    (tmp_path / "disk" / "run17").mkdir(parents=True)
    (tmp_path / "mtl").symlink_to(tmp_path / "disk" / "run17")
    files = {tmp_path / ".mtl.lease", tmp_path / "disk" / ".run17.lease"}
    assert set(lease.lease_files(tmp_path / "mtl")) == files


def test_looking_takes_nothing(path, start):
    lease.refuse_live(path, "it is in use")
    first = start()
    with pytest.raises(HeldError):
        lease.refuse_live(path, "it is in use")
    with pytest.raises(HeldError):
        lease.refuse_held(path, "it is in use", interval=0.05)
    before = asdict(lease._parse(path.read_bytes()))
    first.kill()
    lease.refuse_live(path, "it is in use")
    lease.refuse_held(path, "it is in use", interval=0.05, stale=1.0)
    assert asdict(lease._parse(path.read_bytes())) == before


def test_a_process_elsewhere_is_not_refused_before_it_was_watched(path, start):
    start(**ELSEWHERE)
    lease.refuse_live(path, "it is in use")
    with pytest.raises(HeldError):
        lease.refuse_held(path, "it is in use", interval=0.05)


def test_a_heartbeat_changes_the_file_and_not_its_length(path):
    with take(path) as held:
        before, end = path.read_bytes(), time.monotonic() + 60
        while path.read_bytes() == before:
            assert time.monotonic() < end
            time.sleep(0.01)
        held.check()
        assert len(path.read_bytes()) == len(before)
