"""How much memory a process may still fill."""

from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path("/")  # of the files that the kernel shows


def free_memory() -> int:
    """Returns how many bytes of memory this process may still fill.

    Containers, Slurm and systemd limit it through control groups, of version 1 or 2
    (https://docs.kernel.org/admin-guide/cgroup-v2.html). File cache that the kernel can drop counts
    as free.
    """
    return min([psutil.virtual_memory().available, *_left_in_groups()])


def _left_in_groups() -> Iterator[int]:
    """Yields the bytes left in each control group of this process that has a limit."""
    for line in _text("proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, names = "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        if controllers:  # version 1
            base = "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        parts = Path(path).parts[1:]
        for depth in range(len(parts) + 1):  # the limits of a group's parents apply to it, too
            yield from _left("/".join([base, *parts[:depth]]), *names)


def _left(group: str, limit: str, usage: str, idle: str) -> Iterator[int]:
    """Yields what is left in one group, if it has a limit."""
    most, used = _text(f"{group}/{limit}"), _text(f"{group}/{usage}")
    if most.strip().isdecimal() and used.strip().isdecimal():
        counts = dict(line.split() for line in _text(f"{group}/memory.stat").splitlines())
        yield int(most) - int(used) + int(counts.get(idle, 0))


def _text(path: str) -> str:
    """Returns the content of one of the kernel's files; "" if it does not exist."""
    try:
        return (ROOT / path).read_text()
    except OSError:
        return ""
