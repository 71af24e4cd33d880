import psutil
import pytest

from devices import memory as module
from devices.memory import free_memory


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Returns a function (path, text) that writes one of the kernel's files."""
    monkeypatch.setattr(module, "ROOT", tmp_path)

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return write


def test_without_limits_it_is_the_memory_of_the_machine(kernel):
    assert free_memory() == pytest.approx(psutil.virtual_memory().available, rel=0.1)


def test_the_smallest_limit_of_a_group_and_its_parents_counts(kernel):
    kernel("proc/self/cgroup", "0::/slurm/job\n")
    kernel("sys/fs/cgroup/slurm/job/memory.max", "max\n")
    kernel("sys/fs/cgroup/slurm/job/memory.current", "500\n")
    kernel("sys/fs/cgroup/slurm/memory.max", "9000\n")
    kernel("sys/fs/cgroup/slurm/memory.current", "5000\n")
    kernel("sys/fs/cgroup/slurm/memory.stat", "anon 3000\ninactive_file 2000\n")
    assert free_memory() == 9000 - 5000 + 2000


def test_groups_of_version_1(kernel):
    kernel("proc/self/cgroup", "7:cpu,cpuacct:/a\n4:memory:/docker/b\n")
    kernel("sys/fs/cgroup/memory/docker/b/memory.limit_in_bytes", "4000\n")
    kernel("sys/fs/cgroup/memory/docker/b/memory.usage_in_bytes", "3000\n")
    kernel("sys/fs/cgroup/memory/docker/b/memory.stat", "cache 9\ntotal_inactive_file 100\n")
    assert free_memory() == 1100


def test_this_machine():
    assert 0 < free_memory() <= psutil.virtual_memory().total
