"""`python -m train.caption_uses`: count how the catalogue's names use the captioner's words, and store it in a bundle.

For bundles from before the counts; `python -m train.captions` stores them itself. Nothing is trained: only the
lexicon's "uses" in captioner.json and its digest change.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import click

from model.bundle import CAPTIONER, CONFIG, BundleError, load_bundle
from train.data.catalogue import read_catalogue
from train.data.names import learn_cleaner
from train.evaluation.naming.word_uses import count_uses

ExistingFolder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(help=__doc__)
@click.option(
    "--bundle", "folder", type=ExistingFolder, required=True, help="Bundle with a captioner; changed in place."
)
@click.option("--data", type=ExistingFolder, required=True, help="Catalogue folder.")
def main(folder: Path, data: Path) -> None:
    try:
        bundle, items = load_bundle(folder), read_catalogue(data)
    except (BundleError, ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    if bundle.captioner is None:
        raise click.ClickException(f"{bundle.name} {bundle.version} has no captioner")
    training = [item for item in items if item.split == "train"]
    brands = learn_cleaner(training, bundle.taxonomy, sorted({item.brand for item in items if item.brand})).brands
    uses = count_uses(training, bundle.taxonomy, bundle.captioner.lexicon, brands)
    description, config = folder / CAPTIONER[1], folder / CONFIG
    captioner = json.loads(description.read_text(encoding="utf-8"))
    captioner["lexicon"]["uses"] = {word: use.to_json() for word, use in sorted(uses.items())}
    description.write_text(json.dumps(captioner, ensure_ascii=False) + "\n", encoding="utf-8")
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings["sha256"][CAPTIONER[1]] = hashlib.sha256(description.read_bytes()).hexdigest()
    config.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    for word, use in sorted(uses.items()):
        print(word, json.dumps(use.to_json()))


if __name__ == "__main__":
    main()
