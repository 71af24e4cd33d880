import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRINTS = """
import resource, sys
from project.streams import print_on_full_disks
print_on_full_disks()
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
for number in range(1000):
    print("step", number)
    print("bar", number, file=sys.stderr)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("end")
"""


def test_a_script_goes_on_where_the_file_that_it_prints_to_is_full(tmp_path):
    paths = [tmp_path / name for name in ("out.txt", "err.txt")]
    with paths[0].open("w") as out, paths[1].open("w") as err:
        command = [sys.executable, "-c", PRINTS]
        assert subprocess.run(command, stdout=out, stderr=err, cwd=ROOT).returncode == 0
    printed = [path.read_text() for path in paths]
    assert printed[0].startswith("step 0\nstep 1\n") and printed[0].endswith("end\n")
    assert printed[1].startswith("bar 0\n") and len(printed[1]) == 4096
