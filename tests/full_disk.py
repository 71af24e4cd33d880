"""Disks without room, for tests: a limit to the size of files, a small disk, a closed folder."""

import contextlib
import resource
import shutil
import subprocess

import pytest


@contextlib.contextmanager
def file_limit(size):
    """Refuses this process files of more than `size` bytes, as a disk without room does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _call_or_skip(*command):
    if not shutil.which(command[0]):
        pytest.skip(f"there is no {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{command[0]} is not allowed here: {done.stderr.strip()}")


@contextlib.contextmanager
def small_disk(folder, kilobytes):
    """Mounts a disk of that size, or skips the test; yields a function that gives it a new size."""
    folder.mkdir(exist_ok=True)
    _call_or_skip("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))
    try:
        yield lambda kilobytes: subprocess.run(
            ["mount", "-o", f"remount,size={kilobytes}k", str(folder)], check=True
        )
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def read_only_disk(folder):
    """Mounts a disk that cannot be written, or skips the test."""
    folder.mkdir(exist_ok=True)
    _call_or_skip("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def closed_folder(folder):
    """Lets nobody, not even root, make or remove a file in a folder, or skips the test."""
    _call_or_skip("chattr", "+i", str(folder))
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)
