"""What ``import tinygrad_rnn`` costs against ``import numpy``: CPU time in fresh interpreters, medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

import common

SCRIPT = "from time import process_time as t; start = t(); import {}; print(t() - start)"


def main() -> None:
    parser = common.options(__doc__)
    parser.add_argument("--runs", type=int, default=15, help="interpreters a side (default: %(default)s)")
    options = parser.parse_args()
    spent: dict[str, list[float]] = {"tinygrad_rnn": [], "numpy": []}
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for run in range(options.runs + 1):
        for name, times in spent.items():
            command = [sys.executable, "-c", SCRIPT.format(name)]
            seconds = float(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)
            if run:  # the first writes the byte code and warms the disk's cache
                times.append(seconds)
    table = common.Table("import", "ms", options)
    table.rows("import", {name: statistics.median(times) for name, times in spent.items()}, 1e3)


if __name__ == "__main__":
    main()
