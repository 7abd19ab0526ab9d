"""Zips, folders and tables of lesion pictures become datasets: matched, accounted for, judged, split, saved."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_pictures import blob, encoded, ham_rows, ham_zip, table, zipped
from PIL import Image
from typer.testing import CliRunner

from medbench import datasets
from medbench.cli import app
from medbench.datasets import Draft, SplitPlan
from medbench.drafting_images import LONGEST, draft_images
from medbench.errors import MedbenchError
from medbench.picture_facts import clean_fact, fact_columns
from medbench.picture_sources import PictureLimits
from medbench.pictures import open_picture
from medbench.records import Finding, part_image
from medbench.tasks import get_task
from medbench.workspace import Workspace

Drafted = Callable[..., Draft]
TASK = get_task("lesion")


@pytest.fixture
def drafted(tmp_path: Path) -> Drafted:
    """Drafts files with the lesion task into folders of their own."""
    count = iter(range(100))

    def make(*files: Path, **more: Any) -> Draft:
        named = [(path, path.name) for path in files]
        about = {"task_name": TASK.name, "clean_label": TASK.clean_label, "label_name": TASK.label_name}
        return draft_images(named, **about, keep=tmp_path / f"keep{next(count)}", **more)

    return make


def found(draft: Draft, kind: str) -> Finding:
    return next(one for one in draft.findings if one.kind == kind)


def kinds(draft: Draft) -> set[str]:
    return {one.kind for one in draft.findings}


def labels_of(draft: Draft) -> dict[str, str]:
    frame = draft.frame
    return {key: held[0] if held else "" for key, held in zip(frame["id"], frame["labels"], strict=True)}


def refusals(draft: Draft, name: str) -> list[str]:
    return [reason for _, status, reason in draft.account[name].entries if status == "refused"]


# --- layouts ---------------------------------------------------------------------------------------------------


def test_ham10000_is_understood_without_a_word(drafted: Drafted, tmp_path: Path) -> None:
    draft = drafted(ham_zip(tmp_path / "ham.zip"))
    rows = ham_rows()
    assert labels_of(draft) == {str(row["image_id"]): row["dx"] for row in rows}
    assert list(draft.frame["group"]) == [row["lesion_id"] for row in rows]
    assert (draft.item, draft.answer, draft.labels) == ("image", "one", ("mel", "nv"))
    assert draft.label_names == {"mel": "Melanoma", "nv": "Melanocytic nevus"}
    assert (draft.mapping.id, draft.mapping.labels, draft.mapping.group) == ("image_id", ("dx",), "lesion_id")
    assert draft.frame["x_age"][0] == ""
    assert draft.frame["x_age"][1] == "35"
    assert draft.frame["x_sex"][1] == ""
    assert [account.total for account in draft.account.values()] == [24, 24]


def test_a_folder_and_loose_files_say_the_same_as_the_zip(drafted: Drafted, tmp_path: Path) -> None:
    path = ham_zip(tmp_path / "ham.zip")
    folder = tmp_path / "ham"
    with zipfile.ZipFile(path) as opened:
        opened.extractall(folder)
    from_zip, from_folder = drafted(path), drafted(folder)
    loose = sorted(folder.glob("images/*.jpg"))
    from_loose = drafted(*loose, folder / "HAM10000_metadata.csv")
    for other in (from_folder, from_loose):
        assert labels_of(other) == labels_of(from_zip)
        assert list(other.frame["pixels"]) == list(from_zip.frame["pixels"])
        assert list(other.frame["cluster"]) == list(from_zip.frame["cluster"])


def pictures(names: Sequence[str]) -> dict[str, bytes]:
    return {f"{name}.jpg": encoded(blob(at)) for at, name in enumerate(names)}


def test_one_hot_ground_truth_and_metadata_beside_it_are_joined(drafted: Drafted, tmp_path: Path) -> None:
    names = [f"ISIC_{at}" for at in range(5)]
    marks = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC", "UNK")
    hot = [0, 1, 4, 7, None]
    truth = [
        {"image": name, **{mark: f"{float(at == mine):.1f}" for at, mark in enumerate(marks)}}
        for name, mine in zip(names, hot, strict=True)
    ]
    about = [
        {"image": name, "patient_id": f"P{at // 2}", "age_approx": 50, "sex": "F"} for at, name in enumerate(names)
    ]
    path = zipped(tmp_path / "isic.zip", pictures(names))
    (tmp_path / "truth.csv").write_bytes(table(truth))
    (tmp_path / "about.csv").write_bytes(table(about))
    draft = drafted(path, tmp_path / "truth.csv", tmp_path / "about.csv")
    assert list(labels_of(draft).values()) == ["mel", "nv", "bkl", "", ""]
    assert list(draft.frame["group"]) == ["P0", "P0", "P1", "P1", "P2"]
    assert set(draft.frame["x_sex"]) == {"female"}
    assert draft.mapping.label_style == "columns"
    assert any("2 rows mark no class, several, or UNK" in notice for notice in draft.notices)


def test_isic_archive_metadata_keeps_patients_together_too(drafted: Drafted, tmp_path: Path) -> None:
    names = [f"ISIC_{at}" for at in range(6)]
    rows = [
        {
            "isic_id": name,
            "diagnosis_1": "Benign" if at % 2 else "Malignant",
            "diagnosis_3": "Nevus" if at % 2 else "Melanoma",
            "lesion_id": f"L{at}",
            "patient_id": f"P{at // 3}",
        }
        for at, name in enumerate(names)
    ]
    path = zipped(tmp_path / "isic.zip", {**pictures(names), "metadata.csv": table(rows)})
    draft = drafted(path)
    assert list(labels_of(draft).values()) == ["mel", "nv"] * 3
    assert [list(draft.frame["cluster"])[at] for at in (0, 3)] == ["0", "3"]
    assert draft.frame["cluster"].nunique() == 2
    chosen = drafted(path, columns={"labels": "diagnosis_1", "group": "lesion_id"})
    assert chosen.labels == ("benign", "malignant")


def test_folders_name_the_classes_and_the_splits(drafted: Drafted, tmp_path: Path) -> None:
    members = {}
    for at in range(24):
        split, label = ("train", "test")[at % 2], ("melanoma", "nevus")[at // 2 % 2]
        members[f"data/{split}/{label}/{at}.jpg"] = encoded(blob(at))
    draft = drafted(zipped(tmp_path / "folders.zip", members))
    assert draft.labels == ("mel", "nv")
    assert draft.has_own_split
    assert set(draft.frame["split"]) == {"train", "test"}
    assert draft.mapping.labels == ("folder",)
    assert "no_groups" in kinds(draft)


def test_pictures_alone_are_unlabelled(drafted: Drafted, tmp_path: Path) -> None:
    draft = drafted(zipped(tmp_path / "p.zip", pictures(["a", "b"])))
    assert draft.labels == ()
    assert not draft.frame["labelled"].any()
    assert "unlabelled" in kinds(draft)


def test_both_sides_of_the_match_are_accounted_for(drafted: Drafted, tmp_path: Path) -> None:
    rows = [{"image_id": name, "dx": "nv"} for name in ("a", "a", "gone", "b", "twin")]
    members = {**pictures(["a", "b", "lonely"]), "masks/a_segmentation.png": encoded(blob(1), "PNG")}
    members |= {"one/twin.jpg": encoded(blob(20)), "two/twin.jpg": encoded(blob(21)), "README.md": b"hello"}
    members |= {"__MACOSX/._a.jpg": b"junk", "meta.csv": table(rows)}
    draft = drafted(zipped(tmp_path / "p.zip", members))
    assert labels_of(draft) == {"a": "nv", "b": "nv", "lonely": "", "twin": "", "twin_2": ""}
    assert refusals(draft, "meta.csv") == [
        "'a' was described in line 2 already",
        "no picture is called 'gone'",
        "more than one picture is called 'twin'",
    ]
    told = " ".join(draft.notices)
    assert "3 pictures are in no table and stay unlabelled: lonely.jpg" in told
    assert "1 segmentation masks were left out" in told
    assert "README.md" in told


def test_a_table_of_other_pictures_is_refused(drafted: Drafted, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(table([{"image_id": "elsewhere", "dx": "nv"}]))
    path = zipped(tmp_path / "p.zip", pictures(["a"]))
    with pytest.raises(MedbenchError, match=r"Expected a table that names the pictures, found none of 'm\.csv' does"):
        drafted(path, tmp_path / "m.csv")


def test_a_column_that_is_not_there_is_told(drafted: Drafted, tmp_path: Path) -> None:
    with pytest.raises(MedbenchError, match="Expected a column for labels, found no 'dz' among"):
        drafted(ham_zip(tmp_path / "ham.zip"), columns={"labels": "dz"})
    with pytest.raises(MedbenchError, match="Expected columns for id, labels, group or split, found title"):
        drafted(ham_zip(tmp_path / "ham.zip"), columns={"title": "dx"})


# --- bad input -------------------------------------------------------------------------------------------------


def test_bad_pictures_are_refused_one_by_one_and_the_rest_goes_on(drafted: Drafted, tmp_path: Path) -> None:
    members = pictures(["good", "also_good"])
    members |= {
        "cut.jpg": encoded(blob(5))[:900],
        "note.jpg": b"no picture",
        "dot.png": encoded(Image.new("RGB", (1, 1)), "PNG"),
        "vast.png": encoded(Image.new("L", (20_000, 20_000)), "PNG"),
        "phone.heic": b"\0\0\0\x18ftypheic" + bytes(64),
    }
    draft = drafted(zipped(tmp_path / "mixed.zip", members))
    assert sorted(draft.frame["id"]) == ["also_good", "good"]
    told = refusals(draft, "mixed.zip")
    assert len(told) == 5
    for name in ("cut.jpg", "note.jpg", "dot.png", "vast.png", "phone.heic"):
        assert sum(name in sentence for sentence in told) == 1


def test_when_nothing_can_be_read_the_first_reason_is_told(drafted: Drafted, tmp_path: Path) -> None:
    with pytest.raises(MedbenchError, match=r"none; the first reason: .* text file 'a\.jpg'"):
        drafted(zipped(tmp_path / "p.zip", {"a.jpg": b"no picture"}))


@pytest.mark.parametrize("name", ["../out.jpg", "/etc/out.jpg", "C:/out.jpg", "a/../../out.jpg", "..\\out.jpg"])
def test_a_zip_with_path_tricks_is_refused_and_leaves_nothing(drafted: Drafted, tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "trick.zip", {"fine.jpg": encoded(blob(1)), name: encoded(blob(2))})
    before = {one for one in tmp_path.rglob("*") if one.is_file()}
    with pytest.raises(MedbenchError, match="Expected a zip whose files stay inside it"):
        drafted(path)
    assert {one for one in tmp_path.rglob("*") if one.is_file()} == before


def test_links_in_zips_and_folders_are_not_followed(drafted: Drafted, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(encoded(blob(9)))
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as out:
        out.writestr("a.jpg", encoded(blob(1)))
        out.writestr(link, str(secret))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(encoded(blob(1)))
    (folder / "link.jpg").symlink_to(secret)
    for source in (tmp_path / "p.zip", folder):
        assert list(drafted(source).frame["id"]) == ["a"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(drafted: Drafted, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a.bmp", bytes(20_000_000))
    with pytest.raises(MedbenchError, match=r"Expected a zip that unpacks to at most .* that unpack to 20 MB"):
        drafted(path)


def test_limits_hold_for_counts_and_totals(drafted: Drafted, tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", pictures(["a", "b", "c"]))
    with pytest.raises(MedbenchError, match=r"Expected at most 2 files, found more in 'p\.zip'"):
        drafted(path, limits=PictureLimits(max_files=2))
    with pytest.raises(MedbenchError, match="Expected a zip that unpacks to at most"):
        drafted(path, limits=PictureLimits(max_unpacked=100))


def test_an_encrypted_and_a_damaged_zip_are_told(drafted: Drafted, tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", pictures(["a"]))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 8 : at + 10] = struct.pack("<H", 1)
    (tmp_path / "locked.zip").write_bytes(content)
    with pytest.raises(MedbenchError, match=r"Expected a zip without a password, found 'locked\.zip'"):
        drafted(tmp_path / "locked.zip")
    (tmp_path / "half.zip").write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MedbenchError, match="which is damaged"):
        drafted(tmp_path / "half.zip")


def test_one_damaged_member_does_not_stop_the_others(drafted: Drafted, tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", pictures(["a", "b"]))
    content = bytearray(path.read_bytes())
    content[200:210] = bytes(10)
    path.write_bytes(content)
    draft = drafted(path)
    assert list(draft.frame["id"]) == ["b"]
    assert "'a.jpg', which is damaged" in refusals(draft, "p.zip")[0]


def test_a_damaged_packed_member_is_told_too(drafted: Drafted, tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a.bmp", encoded(blob(1), "BMP"))
        out.writestr("b.bmp", encoded(blob(2), "BMP"))
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(range(100, 130))
    path.write_bytes(content)
    draft = drafted(path)
    assert list(draft.frame["id"]) == ["b"]
    assert "'a.bmp', which is damaged" in refusals(draft, "p.zip")[0]


def test_zips_in_a_folder_are_looked_into_and_zips_in_zips_are_told(drafted: Drafted, tmp_path: Path) -> None:
    folder = tmp_path / "ham"
    folder.mkdir()
    zipped(folder / "part_1.zip", pictures(["a", "b"]))
    inner = zipped(tmp_path / "inner.zip", pictures(["z"])).read_bytes()
    zipped(folder / "part_2.zip", {"c.jpg": encoded(blob(7)), "inner.zip": inner})
    (folder / "m.csv").write_bytes(table([{"image_id": name, "dx": "nv"} for name in "abc"]))
    draft = drafted(folder)
    assert labels_of(draft) == {"a": "nv", "b": "nv", "c": "nv"}
    assert any("1 other files were left out: inner.zip" in notice for notice in draft.notices)


def test_a_table_of_pixels_beside_the_metadata_does_no_harm(drafted: Drafted, tmp_path: Path) -> None:
    pixels = [{f"pixel{at:04d}": (row + at) % 256 for at in range(800)} for row in range(24)]
    (tmp_path / "hmnist.csv").write_bytes(table(pixels))
    draft = drafted(ham_zip(tmp_path / "ham.zip"), tmp_path / "hmnist.csv")
    assert draft.labels == ("mel", "nv")
    assert draft.account["hmnist.csv"].refused == 24
    assert not [name for name in draft.frame.columns if name.startswith("x_pixel")]


def test_no_picture_at_all_is_told(drafted: Drafted, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(table([{"image_id": "a", "dx": "nv"}]))
    with pytest.raises(MedbenchError, match=r"in a zip, a folder or beside a table, found none in 'm\.csv'"):
        drafted(tmp_path / "m.csv")
    with pytest.raises(MedbenchError, match=r"found no file 'gone\.zip'"):
        drafted(tmp_path / "gone.zip")
    with pytest.raises(MedbenchError, match="at least one file"):
        drafted()


# --- what is stored --------------------------------------------------------------------------------------------


def test_stored_pictures_are_small_upright_and_tell_nothing_of_the_patient(drafted: Drafted, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera of Dr. Smith"
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    content = encoded(blob(1, (1600, 1200)), exif=exif, comment=b"Jane Roe, born 1980")
    plain = encoded(blob(2), comment=b"Jane Roe, born 1980")
    draft = drafted(zipped(tmp_path / "p.zip", {"large.jpg": content, "plain.jpg": plain}))
    assert draft.pictures is not None
    stored = [(draft.pictures / name).read_bytes() for name in ("large.jpg", "plain.jpg")]
    assert not any(word in one for one in stored for word in (b"Smith", b"Jane", b"Exif", b"GPS"))
    assert open_picture(stored[0]).size == (LONGEST * 3 // 4, LONGEST)
    assert np.abs(np.asarray(open_picture(stored[1]), int) - np.asarray(open_picture(plain), int)).mean() < 0.5
    told = " ".join(draft.cleaning)
    assert "Removed EXIF from 1 picture; 1 told where it was taken (GPS)." in told
    assert "Made 1 picture smaller, to 640 pixels" in told
    assert "Turned the right way up: 1 picture." in told


def test_duplicates_are_found_kept_together_and_conflicts_told(drafted: Drafted, tmp_path: Path) -> None:
    same, near = encoded(blob(50)), encoded(blob(60, (150, 110)))
    members = pictures([f"p{at}" for at in range(12)])
    members |= {"same.jpg": same, "same_again.jpg": same, "near.jpg": near, "nearly.jpg": encoded(blob(60, (120, 88)))}
    rows = [{"image_id": name[:-4], "dx": "mel" if name in ("same.jpg", "near.jpg") else "nv"} for name in members]
    draft = drafted(zipped(tmp_path / "p.zip", {**members, "m.csv": table(rows)}))
    frame = draft.frame.set_index("id")
    assert frame.loc["same", "cluster"] == frame.loc["same_again", "cluster"]
    assert frame.loc["near", "cluster"] == frame.loc["nearly", "cluster"]
    assert frame["cluster"].nunique() == 14
    assert found(draft, "exact_duplicates").detail["groups"] == [[12, 13]]
    assert found(draft, "near_duplicates").detail["groups"] == [[14, 15]]
    assert found(draft, "conflicting_labels").count == 4
    assert found(draft, "conflicting_labels").severity == "stop"


def test_the_verdict_names_lesions_give_aways_and_unknown_facts(drafted: Drafted, tmp_path: Path) -> None:
    draft = drafted(ham_zip(tmp_path / "ham.zip", 40))
    assert found(draft, "repeated_lesions").sentence.startswith("10 pictures repeat a lesion")
    gives = found(draft, "give_away_column")
    assert gives.detail["column"] == "dx_type"
    assert "“follow_up” are Melanocytic nevus" in gives.sentence
    assert found(draft, "missing_facts").sentence.startswith("Unknown: age for 1, sex for 1 of 40 pictures.")
    assert "small_pictures" in kinds(draft)
    assert draft.profile["facts"]["site"] == {"back": 14, "face": 13, "trunk": 13}
    assert draft.profile["sizes"] == {"96 × 72": 40}


def test_leaks_across_the_files_own_split_are_told(drafted: Drafted, tmp_path: Path) -> None:
    rows = [{**row, "split": "test" if at % 2 else "train"} for at, row in enumerate(ham_rows(40))]
    members = {f"{row['image_id']}.jpg": encoded(blob(at)) for at, row in enumerate(rows)}
    draft = drafted(zipped(tmp_path / "p.zip", {**members, "m.csv": table(rows)}))
    leak = found(draft, "leak_group")
    assert leak.severity == "stop"
    assert "10 of 20 held-out rows" in leak.sentence


def test_progress_rises_to_the_end(drafted: Drafted, tmp_path: Path) -> None:
    told: list[float] = []
    drafted(ham_zip(tmp_path / "ham.zip"), say=lambda share, sentence: told.append(share))
    assert told == sorted(told)
    assert len(told) > 20


# --- saved -----------------------------------------------------------------------------------------------------


def test_a_saved_dataset_gives_items_with_facts(workspace: Workspace, drafted: Drafted, tmp_path: Path) -> None:
    draft = drafted(ham_zip(tmp_path / "ham.zip"))
    dataset = datasets.load(workspace, datasets.save(workspace, draft, name="ham"))
    assert (dataset.item, dataset.task, len(dataset)) == ("image", "lesion", 24)
    examples = dataset.examples()
    assert len(examples) == 24
    for row, item in zip(ham_rows(), examples.items, strict=True):
        path, facts = part_image(item)
        assert Path(path) == dataset.folder / "images" / f"{row['image_id']}.jpg"
        assert open_picture(path).size == (96, 72)
        assert facts.get("site") == row["localization"]
        assert facts.get("age", "") == str(row["age"]).removesuffix(".0")
    assert sorted(one.name for one in dataset.folder.iterdir()) == [
        "dataset.json",
        "findings.json",
        "images",
        "rows.parquet",
    ]
    homes = dataset.frame().groupby("group")["split"].nunique()
    assert homes.max() == 1


def test_the_id_follows_pixels_and_labels(workspace: Workspace, drafted: Drafted, tmp_path: Path) -> None:
    path = ham_zip(tmp_path / "ham.zip")
    first = datasets.save(workspace, drafted(path), name="ham")
    assert datasets.save(workspace, drafted(path), name="ham") == first
    with zipfile.ZipFile(path) as opened:
        members = {one: opened.read(one) for one in opened.namelist()}
    members["images/ISIC_0003.jpg"] = encoded(blob(99))
    changed = drafted(zipped(tmp_path / "other.zip", members))
    assert datasets.save(workspace, changed, name="ham") != first


def test_a_split_by_image_says_how_many_lesions_it_tears(
    workspace: Workspace, drafted: Drafted, tmp_path: Path
) -> None:
    draft = drafted(ham_zip(tmp_path / "ham.zip", 60))
    plan = SplitPlan(part_groups=True)
    dataset = datasets.load(workspace, datasets.save(workspace, draft, name="torn", plan=plan))
    torn = next(one for one in dataset.findings if one.kind == "torn_groups")
    homes = dataset.frame().groupby("cluster")["split"].nunique()
    assert torn.severity == "stop"
    assert torn.detail["n_groups"] == int((homes > 1).sum()) > 0
    assert dataset.card["split"]["part_groups"] is True
    whole = datasets.load(workspace, datasets.save(workspace, draft, name="whole"))
    assert "torn_groups" not in {one.kind for one in whole.findings}


def test_the_command_line_imports_and_leaves_nothing_else(home: Workspace, tmp_path: Path) -> None:
    path = ham_zip(tmp_path / "ham.zip")
    done = CliRunner().invoke(app, ["import", str(path), "--task", "lesion", "--name", "ham", "--json"])
    assert done.exit_code == 0, done.output
    card = json.loads(done.stdout)
    assert (card["item"], card["n_rows"]) == ("image", 24)
    assert [one.name for one in home.datasets.iterdir()] == [card["id"]]
    bad = CliRunner().invoke(app, ["import", str(tmp_path), "--task", "lesion", "--labels", "nothing"])
    assert bad.exit_code == 2
    assert [one.name for one in home.datasets.iterdir()] == [card["id"]]


# --- facts -----------------------------------------------------------------------------------------------------


def test_facts_have_one_spelling() -> None:
    assert fact_columns(["x_Age_Approx", "gender", "x_localization", "dx"]) == {
        "age": "x_Age_Approx",
        "sex": "gender",
        "site": "x_localization",
    }
    assert [clean_fact("age", cell) for cell in ("45.0", "45", "0", "NaN", "-3", "old", "1e9")] == [
        "45",
        "45",
        "0",
        *[""] * 4,
    ]
    assert [clean_fact("sex", cell) for cell in ("F", "Male", "unknown", "diverse")] == [
        "female",
        "male",
        "",
        "diverse",
    ]
    assert clean_fact("site", " Lower  Extremity ") == "lower extremity"
