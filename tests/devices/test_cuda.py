"""The questions to NVIDIA's driver, put to a small library that stands for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devices.cuda import count_gpus, pci_address

DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return number < 2 ? 0 : 101; }
int cuDeviceGetPCIBusId(char *id, int size, int device) {
  strncpy(id, device ? "0000:3b:00.0" : "0000:1a:00.0", size);
  return 0;
}
"""
ASK = "from devices.cuda import *; print(count_gpus(), pci_address(1), pci_address(2))"


@pytest.mark.parametrize(
    "status, answer", [(0, "2 0000:3b:00.0 None"), (100, "0 None None")], ids=["GPUs", "no GPU"]
)
def test_the_driver_is_asked(status, answer, tmp_path):
    compiler = shutil.which("g++") or pytest.skip("there is no g++ to compile the driver")
    (tmp_path / "driver.c").write_text(DRIVER)
    library = ["-x", "c", "-shared", "-fPIC", f"-DINIT={status}", "-o", "libcuda.so.1", "driver.c"]
    subprocess.run([compiler, *library], cwd=tmp_path, check=True)
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.stdout.strip() == answer, done.stderr


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="this machine has the driver")
def test_without_a_driver_there_is_no_gpu():
    assert (count_gpus(), pci_address(0)) == (0, None)
