"""`python -m train.caption_speed`: time per image of the captioner beside the attribute heads, on the CPU."""

from __future__ import annotations

from pathlib import Path

import click

from train.captions.caption_speed import format_speed, measure_speed


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path, file_okay=False), help="Bundle folder.  [default: shipped]")
@click.option("--batch-size", type=int, default=16, show_default=True, help="Images per batch.")
@click.option("--threads", type=int, help="PyTorch threads.  [default: available cores]")
def main(bundle: Path | None, batch_size: int, threads: int | None) -> None:
    print(format_speed(*measure_speed(bundle, batch_size, threads), batch_size))


if __name__ == "__main__":
    main()
