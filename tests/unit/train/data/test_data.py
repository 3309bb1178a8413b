"""Reading both layouts, the split by product group, the taxonomy by majority, and the photos' masks."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from model.taxonomy import Taxonomy
from train.data.catalogue import (
    Item,
    count_taxonomy,
    hash_split,
    product_group,
    read_catalogue,
)
from train.data.dataset import load_catalogue_split, load_dataset
from train.data.drawn import draw, jpeg
from train.data.images import ImageStore, load_pixels
from train.data.options import Options
from train.data.photos import (
    Photo,
    fitting_types,
    gender_masks,
    read_photos,
    type_masks,
)
from train.synthetic.tiny import drawn_taxonomy

KAGGLE = """id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName
1,Men,Apparel,Topwear,Shirts,Red,NA,2012,Casual,Drawn Men Red Shirt
2,Women,Apparel,Bottomwear,Skirts,Green,Summer,2012,,Drawn, with a comma, Women Green Skirt
3,Men,Footwear,Shoes,Formal Shoes,Black,Fall,2012,Formal,"Drawn, quoted, Men Black Shoes"
4,Men,Apparel
"""


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """Kaggle's layout: no split column, unquoted commas, a missing image."""
    (tmp_path / "images").mkdir()
    (tmp_path / "styles.csv").write_text(KAGGLE, encoding="utf-8")
    for name in ("1", "2"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(jpeg(draw("Shirts", "Red", (60, 80), 0)))
    return tmp_path


def test_kaggles_unquoted_commas_belong_to_the_name(kaggle: Path) -> None:
    items = read_catalogue(kaggle)
    assert [item.image for item in items] == ["1", "2", "3"]
    assert items[1].name == "Drawn, with a comma, Women Green Skirt"
    assert items[2].name == "Drawn, quoted, Men Black Shoes"
    assert items[1].labels["articleType"] == "Skirts"


def test_missing_labels_are_absent(kaggle: Path) -> None:
    items = read_catalogue(kaggle)
    assert "season" not in items[0].labels
    assert "usage" not in items[1].labels


def test_a_missing_picture_leaves_its_row_out(kaggle: Path) -> None:
    items = [Item(item.image, "val", item.group, item.labels, item.name, None) for item in read_catalogue(kaggle)]
    split = load_catalogue_split(kaggle, items, "val", drawn_taxonomy(), (48, 36))
    assert [item.image for item in split.items] == ["1", "2"]
    assert split.pixels.shape == (2, 48, 36, 3)


def test_an_empty_split_is_an_error(kaggle: Path) -> None:
    with pytest.raises(ValueError, match="'holiday'"):
        load_catalogue_split(kaggle, read_catalogue(kaggle), "holiday", drawn_taxonomy(), (48, 36))


def test_a_product_in_two_colours_stays_in_one_split() -> None:
    names = [f"Brand {number} Men {{}} Striped Shirt" for number in range(400)]
    pairs = [
        (product_group(name.format("Navy Blue"), "Navy Blue"), product_group(name.format("Red"), "Red"))
        for name in names
    ]
    splits = [(hash_split(one), hash_split(other)) for one, other in pairs]
    assert all(one == other for one, other in splits)
    shares = {split: sum(one == split for one, _ in splits) / len(splits) for split in ("train", "val", "test")}
    assert shares["train"] > 0.8
    assert min(shares.values()) > 0.01


def test_the_tree_follows_the_majority() -> None:
    def item(sub: str, master: str) -> Item:
        labels = {"articleType": "Shirts", "subCategory": sub, "masterCategory": master, "gender": "Men"}
        labels |= {"baseColour": "Red", "season": "Fall", "usage": "Casual"}
        return Item("1", "train", "1", labels, "", None)

    taxonomy = count_taxonomy([item("Topwear", "Apparel"), item("Topwear", "Apparel"), item("Dress", "Home")])
    assert taxonomy.ancestor("Shirts", "subCategory") == "Topwear"
    assert taxonomy.ancestor("Shirts", "masterCategory") == "Apparel"
    assert taxonomy.derived["subCategory"] == ("Topwear",)


def test_the_layout_with_zips(catalogue: Path) -> None:
    items = read_catalogue(catalogue)
    store = ImageStore(catalogue)
    assert len(items) == 60
    assert all(item.image in store for item in items)
    assert "999" not in store
    assert {item.is_small for item in items} == {True, False}


def test_the_cache_equals_fresh_decoding(catalogue: Path, tmp_path: Path) -> None:
    names = [item.image for item in read_catalogue(catalogue)]
    fresh = load_pixels(catalogue, names, (48, 36))
    cached = [load_pixels(catalogue, names, (48, 36), tmp_path) for _ in range(2)]
    assert all(np.array_equal(fresh, pixels) for pixels in cached)
    assert len(list(tmp_path.iterdir())) == 1


def test_other_rows_are_another_cache(catalogue: Path, tmp_path: Path) -> None:
    load_pixels(catalogue, ["0"], (48, 36), tmp_path)
    load_pixels(catalogue, ["1"], (48, 36), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_cache_depends_on_the_images_and_not_on_the_archives_age(catalogue: Path, tmp_path: Path) -> None:
    """A repacked data set is not decoded again; a replaced image is."""
    copy, cache = tmp_path / "data", tmp_path / "cache"
    shutil.copytree(catalogue, copy)
    first = load_pixels(copy, ["0"], (48, 36), cache)
    for archive in copy.glob("images*.zip"):
        os.utime(archive, (1, 1))
    load_pixels(copy, ["0"], (48, 36), cache)
    assert len(list(cache.iterdir())) == 1
    [archive] = [file for file in copy.glob("images*.zip") if "0.jpg" in zipfile.ZipFile(file).namelist()]
    with zipfile.ZipFile(archive, "w") as replaced:
        replaced.writestr("0.jpg", jpeg(draw("Dresses", "Red", (80, 60), seed=99)))
    assert not np.array_equal(load_pixels(copy, ["0"], (48, 36), cache), first)


def test_both_sets_together(catalogue: Path, photos: Path) -> None:
    dataset = load_dataset(Options(catalogue.parent, catalogue, photos, size=(48, 36)), None)
    assert dataset.train_photos is not None
    assert dataset.train_photos.types.shape == (20, len(dataset.taxonomy.attributes["articleType"]))
    assert set(dataset.train.targets) == set(dataset.taxonomy.values)
    assert all(len(column) == len(dataset.train.items) for column in dataset.train.targets.values())


def test_a_photo_allows_the_types_that_fit(photos: Path) -> None:
    taxonomy, rows = drawn_taxonomy(), read_photos(photos)
    shoes = [row for row in rows if row.label == "Shoes"]
    allowed = type_masks(shoes, taxonomy)
    assert (allowed.sum(axis=1) == 1).all()
    assert allowed[:, taxonomy.index("articleType", "Formal Shoes")].all()


def test_a_label_without_a_rule_allows_everything() -> None:
    assert type_masks([Photo("1", "train", "s", "Spaceship", False)], drawn_taxonomy()).all()


def test_an_adults_garment_excludes_children_and_a_childs_excludes_adults() -> None:
    rows = [Photo("1", "train", "s", "Shirt", False), Photo("2", "train", "s", "Shirt", True)]
    taxonomy = Taxonomy("1", {"gender": ("Boys", "Girls", "Men", "Unisex", "Women")}, {}, ())
    assert gender_masks(rows, taxonomy).tolist() == [
        [False, False, True, True, True],
        [True, True, False, False, False],
    ]


def test_genders_without_children_are_narrowed_by_no_photo() -> None:
    rows = [Photo("1", "train", "s", "Shirt", False), Photo("2", "train", "s", "Shirt", True)]
    assert gender_masks(rows, drawn_taxonomy()).all()


def test_every_photo_label_has_its_types() -> None:
    assert len(fitting_types()) == 17
    assert fitting_types()["Top"] == fitting_types()["Blouse"]


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "styles.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="needs a column id"):
        read_catalogue(tmp_path)


def test_an_archive_may_be_a_single_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.jpg", jpeg(draw("Caps", "Red", (60, 80), 0)))
    assert ImageStore(tmp_path).pixels("a", (48, 36)).shape == (48, 36, 3)
    shutil.rmtree(tmp_path)
