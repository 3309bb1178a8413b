"""`python -m train.check`: check a table before training on it, with the options of `python -m train`.

Lists missing and broken pictures, unknown columns, rare and misspelt values, rows per split, products and twins that
cross splits, and estimates the time. Exits with 1 if there is an error, with 0 if there are warnings only.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import click
import torch

from model.nets.cores import available_cores
from train.__main__ import main as train
from train.__main__ import read_options
from train.checks.estimate import estimate_seconds
from train.checks.table import check_table


@click.pass_context
def check(context: click.Context, /, columns: tuple[str, ...], threads: int | None, **given: Any) -> None:
    if given["data"] is None:
        raise click.UsageError("--data is required")
    torch.set_num_threads(threads or available_cores())
    run = {name: value for name, value in given.items() if name not in NOT_OF_OPTIONS}
    options = read_options(context, given["out"] or Path(), columns, run)
    found, items = check_table(options)
    for fact in found.facts:
        print(fact)
    if items and not found.errors:
        used = sum(item.split in {"train", "val"} for item in items)
        rate, seconds = estimate_seconds(options, used)
        print(f"time: about {seconds / 60:.1f} minutes for {used} rows ({rate:.0f} images/s through the network)")
    for kind, lines in (("warning", found.warnings), ("error", found.errors)):
        for line in lines:
            print(f"{kind}: {line}")
    print(f"errors={len(found.errors)} warnings={len(found.warnings)}")
    sys.exit(1 if found.errors else 0)


NOT_OF_OPTIONS = ("out", "bundle", "name", "version", "cache", "origin", "resume", "export_only", "is_smoke")


def _option(parameter: click.Parameter) -> click.Parameter:
    """The option as it is for `python -m train`, but never required."""
    own = copy.copy(parameter)
    own.required = False
    return own


main = click.Command("check", callback=check, params=[_option(each) for each in train.params], help=__doc__)

if __name__ == "__main__":
    main()
