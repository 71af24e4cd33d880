"""How much memory a process may still fill."""

from pathlib import Path

import psutil

ROOT = Path("/")  # of the files that the kernel shows


def free_memory():
    """Returns the bytes of memory that may be filled, within the limits of its control groups.

    Those of containers, Slurm and systemd, of either version
    (https://docs.kernel.org/admin-guide/cgroup-v2.html). Cached files that can be given up count
    as free.
    """
    return min([psutil.virtual_memory().available, *_left_in_groups()])


def _left_in_groups():
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
        for depth in range(len(parts) + 1):  # a group's parents limit it, too
            yield from _left("/".join([base, *parts[:depth]]), *names)


def _left(group, limit, usage, idle):
    """Yields what is left in one group, if it has a limit."""
    most, used = _text(f"{group}/{limit}"), _text(f"{group}/{usage}")
    if most.strip().isdecimal() and used.strip().isdecimal():
        counts = dict(line.split() for line in _text(f"{group}/memory.stat").splitlines())
        yield int(most) - int(used) + int(counts.get(idle, 0))


def _text(path):
    """Returns the content of one of the kernel's files; "" if it is not there."""
    try:
        return (ROOT / path).read_text()
    except OSError:
        return ""
