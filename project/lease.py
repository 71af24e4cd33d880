"""One process at a time: a lease is a file that names its holder and holds its heartbeat.

It needs no locks of the operating system, which do not reach over NFS and Lustre everywhere, only
that making a link, making a new file and renaming are atomic. Clocks of machines are not compared.
"""

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from project.errors import UserError

INTERVAL = 10.0  # seconds between two heartbeats
STALE = 120.0  # seconds without one after which a lease is abandoned
LETTERS = 200  # of a command that a message names
# A process that takes over looks at what it has renamed and puts a live lease back at once.
ABSENT_SECONDS = (0.0, 0.1, 0.3, 0.6)
GONE, ALIVE, UNKNOWN = "gone", "alive", "unknown"  # what is known of a holder


class LeaseError(UserError):
    """A lease cannot be had, or was lost."""


@dataclass(frozen=True)
class Holder:
    """A process that holds a lease, or asks for one.

    Attributes:
        host, boot, namespace: where its number means this process: name of the machine, identity
            of its start, and of the container's processes; "" = not known.
        pid, started: number of the process, and the kernel's time of its start.
        job, step, task, restart: of Slurm; restart counts how often the job was requeued.
        user, command, since: for people.
        token: no other lease has it.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: str
    job: str
    step: str
    task: str
    restart: int
    user: str
    command: str
    since: str
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def process(self) -> tuple:
        """What tells the process from all others."""
        return self.host, self.boot, self.namespace, self.pid, self.started

    def content(self, beat: int) -> bytes:
        """Returns what the lease file holds; it has the same length for each heartbeat."""
        return json.dumps(asdict(self) | {"beat": f"{beat:012d}"}).encode()

    def __str__(self):
        job = f", Slurm job {self.job}" if self.job else ""
        text = f"process {self.pid} on {self.host} (of {self.user}{job}, since {self.since}: "
        return " ".join(f"{text}{self.command[:LETTERS]})".split())


class HeldError(LeaseError):
    """Another process holds a lease.

    Attributes:
        reason: what is held, and by which process.
    """

    def __init__(self, what: str, holder: Holder | None):
        self.reason = f"{what} by {holder or 'another process'}"
        super().__init__(f"{self.reason}. Wait until it ends, stop it, or write elsewhere.")


def this_process() -> Holder:
    """Returns this process as a holder, with a new token."""
    environment = os.environ
    restart = environment.get("SLURM_RESTART_COUNT", "")
    return Holder(
        host=socket.gethostname(),
        boot=_kernel_text("/proc/sys/kernel/random/boot_id"),
        namespace=_namespace(),
        pid=os.getpid(),
        started=_start_time(os.getpid()),
        job=environment.get("SLURM_JOB_ID", ""),
        step=environment.get("SLURM_STEP_ID", ""),
        task=environment.get("SLURM_PROCID", ""),
        restart=int(restart) if restart.isdecimal() else 0,
        user=environment.get("USER") or f"user {os.getuid()}",
        command=" ".join(sys.argv),
        since=time.strftime("%Y-%m-%d %H:%M:%S"),
    )


class Lease:
    """A lease that this process holds; a thread renews it until it is released."""

    def __init__(self, path: Path, what: str, me: Holder, interval: float):
        """Takes charge of a lease file that `acquire` has just made."""
        self.path, self.what, self.me = path, what, me
        self._beats, self._lost = 0, False
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._renew, args=(interval,), daemon=True)
        self._thread.start()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_) -> None:
        self.release()

    def check(self) -> None:
        """Makes sure that this process still holds the lease: call it before something is written.

        Raises:
            LeaseError: if another has taken it over, or it was removed.
            OSError: if the lease cannot be read.
        """
        # The second heartbeat makes sure that the first was written to what still is the lease.
        if not (self._beat() and self._beat()):
            found = _read(self.path)
            holder = _parse(found) if found else None
            now = f"{self.what} by {holder} now" if holder else f"{self.path} is gone"
            raise LeaseError(
                f"{now}: another process took over while this one was suspended or could not reach "
                "the disk, or the file was removed. Nothing more is written there. Start the same "
                "command again when no other process runs there."
            )

    def release(self) -> None:
        """Removes the lease file, unless another process has taken it over."""
        self._over.set()
        self._thread.join()
        with self._lock, contextlib.suppress(OSError):  # then it is taken over, as of a killed one
            found = _read(self.path)
            if found and _token(found) == self.me.token:
                _take_away(self.path, found)

    def _renew(self, interval: float) -> None:
        while not self._over.wait(interval):
            with contextlib.suppress(OSError):  # a disk that hangs may come back
                self._beat()

    def _beat(self) -> bool:
        """Writes a heartbeat; returns whether the lease is still held."""
        with self._lock:
            for seconds in () if self._lost else ABSENT_SECONDS:
                time.sleep(seconds)
                with contextlib.suppress(FileNotFoundError):
                    self._lost = not self._write_beat()
                    return not self._lost
            self._lost = True
            return False

    def _write_beat(self) -> bool:
        """Counts on in the lease file if it is this process'; returns whether it is.

        The file is changed in its place: it may have been renamed since it was opened, and what
        has its name now is then left as it is. This also needs no room on a full disk.
        """
        try:
            with self.path.open("r+b") as file:
                if _token(file.read()) != self.me.token:
                    return False
                self._beats += 1
                file.seek(0)
                file.write(self.me.content(self._beats))
                return True
        except FileNotFoundError:
            raise
        except OSError:  # nothing can be written now, but the lease may still be held
            return _token(self.path.read_bytes()) == self.me.token


def acquire(
    path: Path,
    what: str,
    wait: bool = True,
    interval: float = INTERVAL,
    stale: float = STALE,
    me: Holder | None = None,
    gone: set[tuple] | None = None,
) -> Lease:
    """Takes a lease, also that of a process that is gone.

    Args:
        path: the lease file, see `lease_files`.
        what: begins messages: "<what> by process 7 on node3".
        wait: whether to watch, for at most `stale` seconds, a holder whose process cannot be seen
            from this machine; False = it is taken for alive.
        interval: seconds between heartbeats, which must be the same for all processes.
        stale: seconds without a heartbeat after which a lease is abandoned.
        me: this process.
        gone: processes that were watched in vain just now, which are not watched again; those of
            this watch are added.

    Raises:
        HeldError: naming the holder.
        LeaseError: if the lease file cannot be written.
    """
    me = me or this_process()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while not _create(path, me.content(0)):
            abandoned = _abandoned(path, what, wait, interval, stale, me, gone)
            if abandoned is not None:
                _take_away(path, abandoned)
    except OSError as error:
        raise LeaseError(
            f"{path}, which keeps other processes away, cannot be written "
            f"({error.strerror or error}). Give another folder, make room, or change the "
            "permissions."
        ) from None
    return Lease(path, what, me, interval)


def lease_files(folder: Path) -> list[Path]:
    """Returns the lease files of a folder: beside it, since it may be moved aside itself.

    A folder that is a link has one beside the link and one beside what it leads to.
    """
    places = (path.parent.resolve() / path.name for path in (folder, folder.resolve()))
    return list(dict.fromkeys(map(beside, places)))


def beside(path: Path) -> Path:
    """Returns the lease file of a path."""
    return path.with_name(f".{path.name}.lease")


def in_use(folder: Path) -> str:
    """Returns how messages on the lease of a folder begin."""
    return f"{folder} is in use"


def refuse_live(path: Path, what: str) -> None:
    """Raises HeldError if a process that runs on this machine holds a lease; never waits."""
    found = _read(path)
    holder = _parse(found) if found else None
    if holder and _state(holder, this_process()) == ALIVE:
        raise HeldError(what, holder)


def refuse_held(path: Path, what: str, interval: float = INTERVAL, stale: float = STALE) -> None:
    """Raises HeldError if a lease is held, after watching it as `acquire` does; takes nothing."""
    _abandoned(path, what, True, interval, stale, this_process())


@contextlib.contextmanager
def held_folders(*folders: Path) -> Iterator[list[Lease]]:
    """Holds the leases of folders, all of them or none.

    Raises:
        HeldError: naming the holder of one of them.
        LeaseError: if a lease file cannot be written.
    """
    wanted: dict[Path, Path] = {}
    for folder in folders:
        wanted = wanted | dict.fromkeys(lease_files(folder), folder)
    with contextlib.ExitStack() as stack:
        gone: set[tuple] = set()
        yield [stack.enter_context(acquire(p, in_use(f), gone=gone)) for p, f in wanted.items()]


def _abandoned(
    path: Path,
    what: str,
    wait: bool,
    interval: float,
    stale: float,
    me: Holder,
    gone: set[tuple] | None = None,
) -> bytes | None:
    """Finds out whether a lease is held.

    Returns:
        The content of an abandoned lease; None where there is none.

    Raises:
        HeldError: if it is held.
    """
    found = _read(path)
    if found is None:
        return None
    holder = _parse(found)
    state = _state(holder, me) if holder else UNKNOWN
    if state == GONE or (holder and holder.process in (gone or ())):
        return found
    if state == ALIVE or not wait:
        raise HeldError(what, holder)
    print(
        f"{what} by {holder or f'an unknown process, as {path} is damaged'}. Waiting up to "
        f"{stale:g} seconds for a sign that it still runs.",
        flush=True,
    )
    pause = interval / 10
    # Looks are counted, not seconds: after a disk has hung, the holder gets time for its heartbeat.
    for _ in range(round(stale / pause)):
        time.sleep(pause)
        now = _read(path)
        if now is None:
            return None
        if now != found:
            raise HeldError(what, _parse(now) or holder)
    print("There was none: going on in its place.", flush=True)
    if holder and gone is not None:
        gone.add(holder.process)
    return found


def _state(holder: Holder, me: Holder) -> str:
    """Returns whether a holder is known to be gone or alive, without watching it."""
    here = (me.host, me.boot, me.namespace)
    if me.boot and here == (holder.host, holder.boot, holder.namespace):
        return _process_state(holder)
    if me.job and me.job == holder.job:
        if me.restart > holder.restart:  # Slurm requeues a job when all its processes have ended
            return GONE
        same_task = (me.step, me.task) == (holder.step, holder.task)
        if same_task and me.boot != holder.boot:  # a task runs on one machine at a time
            return GONE
    return UNKNOWN


def _process_state(holder: Holder) -> str:
    """Returns the state of a holder whose process would be seen from here."""
    if started := _start_time(holder.pid):
        return ALIVE if started == holder.started else GONE
    try:  # /proc may hide the processes of other users
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return GONE
    except (PermissionError, OverflowError):
        return UNKNOWN
    return GONE  # it has ended, but its parent has not asked for its status


def _start_time(pid: int) -> str:
    """Returns the kernel's time of a process' start; "" = it has ended, or is not to be seen."""
    # After the name in brackets: the state (Z and X: it has ended), ..., the 20th is the start.
    values = _kernel_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return "" if len(values) < 20 or values[0] in "ZX" else values[19]


def _kernel_text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace").strip()
    return ""


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _parse(content: bytes) -> Holder | None:
    """Returns the holder that a lease file names; None if it is damaged."""
    try:
        stored: Any = json.loads(content)
        kinds: dict[str, Any] = {item.name: item.type for item in fields(Holder)}
        return Holder(**{name: kind(stored[name]) for name, kind in kinds.items()})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _token(content: bytes) -> str | None:
    holder = _parse(content)
    return holder.token if holder else None


def _read(path: Path) -> bytes | None:
    """Returns the content of a lease file; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _part_of(path: Path) -> Path:
    """Returns a hidden name beside a path, of the kind that `project.files` cleans up."""
    return path.with_name(f".part.{secrets.token_hex(4)}.{path.name}")


def _create(path: Path, content: bytes) -> bool:
    """Makes a file with its content, as one step; returns False if there is one."""
    part = _part_of(path)
    try:
        part.write_bytes(content)
        with contextlib.suppress(OSError):  # some disks have no permissions
            part.chmod(0o644)  # the next user of a shared folder must be able to watch it
        return _link(part, path)
    finally:
        part.unlink(missing_ok=True)


def _link(part: Path, path: Path) -> bool:
    """Gives a file a second name; returns False if there is a file of that name."""
    try:
        os.link(part, path)
        return True
    except FileExistsError:
        # A request that NFS repeats meets the link that it made the first time.
        return part.stat().st_nlink == 2
    except OSError:  # a disk without links
        return _copy(part, path)


def _copy(part: Path, path: Path) -> bool:
    """Does the same on a disk without links; while it is written, the file has no heartbeat."""
    try:
        with path.open("xb") as file, _removed_after_error(path):
            file.write(part.read_bytes())
            file.flush()
        return True
    except FileExistsError:
        return False


@contextlib.contextmanager
def _removed_after_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _take_away(path: Path, expected: bytes) -> None:
    """Removes a lease file if it still has the content that is expected.

    Of several processes that try this, one may come when another has taken the lease already. What
    it then has in its hands goes back.
    """
    if _read(path) != expected:
        return
    part = _part_of(path)
    try:
        path.rename(part)
        content = part.read_bytes()
        if content != expected:
            _create(path, content)
    except FileNotFoundError:
        return
    finally:
        part.unlink(missing_ok=True)
