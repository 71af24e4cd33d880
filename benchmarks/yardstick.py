"""Another name of benchmarks.baseline, until version 1.0: `python -m benchmarks.yardstick`."""

import runpy

runpy.run_module("benchmarks.baseline", run_name="__main__")
