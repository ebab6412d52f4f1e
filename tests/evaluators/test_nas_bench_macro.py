"""Cost against 60 rows of NAS-Bench-Macro (arXiv:2103.11922): its params and its "flops", which are MACs, exactly."""

import csv
import runpy
from pathlib import Path

from evaluators.cost import cost

ROOT = Path(__file__).parents[2]
MACRO = runpy.run_path(str(ROOT / "benchmarks" / "nas_bench_macro.py"))


def test_params_and_macs_are_those_of_the_table():
    with (ROOT / "tests" / "data" / "nas_bench_macro.csv").open() as file:
        rows = {row["arch"]: (int(row["params"]), int(row["macs"])) for row in csv.DictReader(file)}
    assert len(rows) == 60
    for arch, expected in rows.items():
        found = cost(MACRO["genotype_of"](arch), MACRO["TASK"])
        assert (found.params, found.macs) == expected, arch
