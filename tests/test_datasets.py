"""Drafting, saving, loading, paging, listing and deleting datasets, through the real readers."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from medbench import datasets
from medbench.datasets import Draft, SplitPlan
from medbench.errors import MedbenchError
from medbench.records import SPLITS, ColumnMap
from medbench.tasks import get_task
from medbench.workspace import Workspace

CLEAN = get_task("literature").clean_label
WORDS = "heart lung liver kidney brain bone skin blood nerve muscle spleen colon retina thyroid ovary".split()  # noqa: SIM905


def invented(number: int) -> str:
    """A text of 30 words that is its own."""
    draw = np.random.default_rng(number)
    return " ".join([*draw.choice(WORDS, 29), f"case{number}"])


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def many(path: Path, n: int = 60) -> Path:
    rows = [
        (
            f"p{number}",
            f"Title {number}",
            invented(number),
            ("A;B", "B", "C", "A")[number % 4],
            f"s{number // 2}",
            "2020",
        )
        for number in range(n)
    ]
    return write(path, ("pmid", "title", "abstract", "labels", "patient_id", "year"), rows)


def drafted(*files: Path, **options: object) -> Draft:
    named = [(file, file.name) for file in files]
    return datasets.draft(named, task_name="literature", clean_label=CLEAN, **options)  # type: ignore[arg-type]


def test_a_draft_accounts_maps_and_cleans(tmp_path: Path) -> None:
    told: list[float] = []
    draft = drafted(many(tmp_path / "a.csv"), say=lambda share, sentence: told.append(share))
    assert list(draft.frame.columns) == [
        *("id", "title", "text", "labels", "labelled", "group", "cluster", "split", "source", "line", "x_year")
    ]
    first = draft.frame.iloc[0]
    assert (first["id"], first["title"], first["labels"], first["group"], first["line"], first["x_year"]) == (
        *("p0", "Title 0", ["A", "B"], "s0", 2, "2020"),
    )
    assert (draft.answer, draft.labels, len(draft.frame)) == ("many", ("A", "B", "C"), 60)
    assert draft.account["a.csv"].read == 60
    assert draft.profile["classes"] == {"A": 30, "B": 30, "C": 15}
    assert draft.mapping.separator == ";"
    assert draft.sources[0]["bytes"] == (tmp_path / "a.csv").stat().st_size
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_one_label_each_means_one_and_a_blank_means_unlabelled(tmp_path: Path) -> None:
    rows = [(invented(number), ("x", "y", "")[number % 3]) for number in range(30)]
    draft = drafted(write(tmp_path / "a.csv", ("text", "label"), rows))
    assert draft.answer == "one"
    assert draft.frame["labelled"].sum() == 20
    assert list(draft.frame["id"][:2]) == ["00", "01"]


def test_among_many_labels_a_blank_means_none_of_them(tmp_path: Path, workspace: Workspace) -> None:
    rows = [(invented(number), ("x;y", "y", "")[number % 3]) for number in range(30)]
    draft = drafted(write(tmp_path / "a.csv", ("text", "labels"), rows))
    assert draft.frame["labelled"].all()
    assert "none_applies" in {one.kind for one in draft.findings}
    dataset = datasets.load(workspace, datasets.save(workspace, draft, name="blank"))
    assert (dataset.examples().truth.sum(axis=1) == 0).sum() == 10
    mostly = [(invented(number), "x;y" if number % 5 == 0 else "") for number in range(30)]
    assert drafted(write(tmp_path / "b.csv", ("text", "labels"), mostly)).frame["labelled"].sum() == 6


def test_label_names_are_learnt_from_the_column_beside_the_labels(tmp_path: Path) -> None:
    rows = [
        (invented(number), ("C1;C2", "C1", "C2")[number % 3], ("Heart | Lung", "Heart", "Lung")[number % 3])
        for number in range(30)
    ]
    draft = drafted(write(tmp_path / "a.csv", ("text", "labels", "label_names"), rows))
    assert draft.label_names == {"C1": "Heart", "C2": "Lung"}
    assert "give_away_column" not in {one.kind for one in draft.findings}
    crossed = [(text, codes, "Lung" if row == 4 else names) for row, (text, codes, names) in enumerate(rows)]
    assert drafted(write(tmp_path / "b.csv", ("text", "labels", "label_names"), crossed)).label_names["C1"] == "C1"


def test_a_dataset_comes_back_as_it_was_saved(tmp_path: Path, workspace: Workspace) -> None:
    draft = drafted(many(tmp_path / "a.csv"))
    before = draft.frame.copy(deep=True)
    plan = SplitPlan(seed=3)
    dataset_id = datasets.save(workspace, draft, name="My Search: 2026!", plan=plan, licence=" CC0 ")
    assert draft.frame.equals(before)
    dataset = datasets.load(workspace, dataset_id)
    assert dataset_id.startswith("my-search-2026-")
    assert {path.name for path in dataset.folder.iterdir()} == {"rows.parquet", "findings.json", "dataset.json"}
    assert dataset.frame().drop(columns="split").equals(before.drop(columns="split"))
    assert dataset.findings == draft.findings
    assert dataset.mapping == draft.mapping
    assert (dataset.card["licence"], dataset.card["seed"], len(dataset)) == ("CC0", 3, 60)
    assert sum(dataset.counts.values()) == 60
    assert dataset.counts["train"] == pytest.approx(42, abs=2)
    assert datasets.load(workspace, "My Search: 2026!").id == dataset_id


def test_examples_follow_splits_and_groups_never_straddle(tmp_path: Path, workspace: Workspace) -> None:
    draft = drafted(many(tmp_path / "a.csv"))
    dataset = datasets.load(workspace, datasets.save(workspace, draft, name="a"))
    parts = {split: dataset.examples(split) for split in SPLITS}
    assert {split: len(part) for split, part in parts.items()} == dataset.counts
    homes = [set(part.groups) for part in parts.values()]
    assert not homes[0] & homes[1]
    assert not (homes[0] | homes[1]) & homes[2]
    train = dataset.positions("train")
    row = dataset.rows([int(train[5])])[0]
    assert parts["train"].items[5] == f"{row['title']}\n{row['text']}"
    assert [label for label, held in zip(dataset.labels, parts["train"].truth[5], strict=True) if held] == row["labels"]
    assert len(dataset.examples("train", "test")) == dataset.counts["train"] + dataset.counts["test"]


def test_the_same_content_is_kept_once_and_another_seed_is_another_dataset(
    tmp_path: Path, workspace: Workspace
) -> None:
    file = many(tmp_path / "a.csv")
    first = datasets.save(workspace, drafted(file), name="a")
    card = (workspace.dataset(first) / "dataset.json").read_bytes()
    other_file = tmp_path / "renamed.csv"
    other_file.write_bytes(file.read_bytes())
    assert datasets.save(workspace, drafted(other_file), name="a") == first
    assert (workspace.dataset(first) / "dataset.json").read_bytes() == card
    assert datasets.save(workspace, drafted(file), name="a", plan=SplitPlan(seed=1)) != first
    assert len(datasets.list_datasets(workspace)) == 2
    assert len(list(workspace.datasets.iterdir())) == 2


def test_two_that_save_the_same_at_once_leave_one(tmp_path: Path, workspace: Workspace) -> None:
    draft = drafted(many(tmp_path / "a.csv"))
    with ThreadPoolExecutor(4) as pool:
        ids = {future.result() for future in [pool.submit(datasets.save, workspace, draft, name="a") for _ in range(4)]}
    assert len(ids) == 1
    assert [path.name for path in workspace.datasets.iterdir()] == list(ids)


def test_a_torn_folder_is_no_dataset_and_is_replaced(tmp_path: Path, workspace: Workspace) -> None:
    draft = drafted(many(tmp_path / "a.csv"))
    dataset_id = datasets.save(workspace, draft, name="a")
    (workspace.dataset(dataset_id) / "dataset.json").unlink()
    assert datasets.list_datasets(workspace) == []
    with pytest.raises(MedbenchError, match="Import a dataset first"):
        datasets.load(workspace, dataset_id)
    assert datasets.save(workspace, draft, name="a") == dataset_id
    assert datasets.load(workspace, dataset_id).counts


def test_rows_are_paged_without_reading_all(tmp_path: Path, workspace: Workspace) -> None:
    rows = [(f"t{number}", ("x", "y")[number % 2]) for number in range(4_500)]
    draft = drafted(write(tmp_path / "a.csv", ("title", "label"), rows))
    dataset = datasets.load(workspace, datasets.save(workspace, draft, name="a"))
    assert [row["title"] for row in dataset.rows([4_400, 0, 2_000])] == ["t4400", "t0", "t2000"]
    assert [row["position"] for row in dataset.page(4_498, 10)] == [4_498, 4_499]
    assert dataset.page(9_000, 10) == []
    with pytest.raises(MedbenchError, match="a row position below 4,500, found 4500"):
        dataset.rows([4_500])


def test_files_of_several_formats_make_one_dataset(tmp_path: Path) -> None:
    ris = tmp_path / "b.ris"
    ris.write_text(f"TY  - JOUR\nTI  - A trial\nAB  - {invented(900)}\nER  - \n\n", encoding="utf-8")
    packed = tmp_path / "c.csv.gz"
    packed.write_bytes(gzip.compress(many(tmp_path / "a.csv").read_bytes()))
    draft = drafted(packed, ris)
    assert set(draft.account) == {"c.csv.gz", "b.ris"}
    assert draft.frame["source"].value_counts().to_dict() == {"c.csv.gz": 60, "b.ris": 1}
    last = draft.frame.iloc[-1]
    assert (last["title"], last["labelled"]) == ("A trial", False)
    assert [source["format"] for source in draft.sources] == ["CSV or TSV", "RIS"]


def test_two_files_of_one_name_keep_their_accounts_apart(tmp_path: Path) -> None:
    first, second = many(tmp_path / "a.csv", 12), many(tmp_path / "b.csv", 8)
    draft = datasets.draft([(first, "x.csv"), (second, "x.csv")], task_name="literature", clean_label=CLEAN)
    assert {name: account.read for name, account in draft.account.items()} == {"x.csv": 12, "x.csv (2)": 8}


def test_a_map_or_columns_from_the_user_are_used(tmp_path: Path) -> None:
    file = many(tmp_path / "a.csv")
    fixed = ColumnMap(text="abstract", labels=("year",))
    assert drafted(file, mapping=fixed).labels == ("2020",)
    assert drafted(file, mapping={"a.csv": fixed}).mapping == fixed
    assert drafted(file, columns={"labels": "year"}).mapping.title == "title"
    with pytest.raises(MedbenchError, match=r"a column named 'body' in a\.csv, found no such column"):
        drafted(file, mapping=ColumnMap(text="body"))
    with pytest.raises(MedbenchError, match="a column named 'topic'"):
        drafted(file, columns={"labels": "topic"})


def test_rows_of_one_text_are_merged_on_request(tmp_path: Path) -> None:
    rows = [(invented(number // 2), ("x", "y")[number % 2]) for number in range(40)] + [("", "x"), ("", "y")]
    file = write(tmp_path / "a.csv", ("text", "label"), rows)
    assert {one.kind for one in drafted(file).findings} >= {"conflicting_labels", "exact_duplicates"}
    merged = drafted(file, merge=True)
    assert "conflicting_labels" not in {one.kind for one in merged.findings}
    assert (merged.answer, len(merged.frame), merged.frame["labels"].iloc[0]) == ("many", 22, ["x", "y"])
    assert "Merged 42 rows into 22: rows with the same text became one." in merged.notices


def test_unlabelled_files_are_kept_but_not_split(tmp_path: Path, workspace: Workspace) -> None:
    file = write(tmp_path / "a.csv", ("title", "abstract"), [(f"t{n}", invented(n)) for n in range(5)])
    draft = drafted(file)
    assert draft.labels == ()
    assert [one.kind for one in draft.findings if one.kind == "unlabelled"]
    dataset = datasets.load(workspace, datasets.save(workspace, draft, name="plain"))
    assert dataset.counts == {"train": 0, "validation": 0, "test": 0}
    assert len(dataset) == 5
    assert len(dataset.examples()) == 0


def test_the_files_own_splits_are_used_on_request(tmp_path: Path, workspace: Workspace) -> None:
    rows = [(invented(n), ("x", "y")[n % 2], ("train", "train", "train", "dev")[n % 4]) for n in range(40)]
    draft = drafted(write(tmp_path / "a.csv", ("text", "label", "split"), rows))
    assert draft.has_own_split
    dataset = datasets.load(workspace, datasets.save(workspace, draft, name="own", plan=SplitPlan("file")))
    assert dataset.counts == {"train": 30, "validation": 10, "test": 0}


def test_a_dataset_that_runs_use_is_not_deleted(tmp_path: Path, workspace: Workspace) -> None:
    dataset_id = datasets.save(workspace, drafted(many(tmp_path / "a.csv")), name="used")
    for number, named in enumerate((dataset_id, "used", "another")):
        folder = workspace.run(f"run-{number}")
        folder.mkdir(parents=True)
        (folder / "run.yaml").write_text(f"task: literature\ndataset: {named}\n", encoding="utf-8")
    assert datasets.used_by(workspace, dataset_id) == ["run-0", "run-1"]
    with pytest.raises(MedbenchError, match=r"found 2 runs \(run-0, run-1\)\. Delete those runs first\."):
        datasets.delete(workspace, dataset_id)
    for number in (0, 1):
        (workspace.run(f"run-{number}") / "run.yaml").unlink()
    datasets.delete(workspace, dataset_id)
    assert datasets.list_datasets(workspace) == []
    assert list(workspace.datasets.iterdir()) == []


def test_what_cannot_be_drafted_or_saved_is_told(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(MedbenchError, match="at least one file, found none"):
        drafted()
    with pytest.raises(MedbenchError, match="a title or a text column"):
        drafted(write(tmp_path / "n.csv", ("a", "b"), [("1", "2")] * 3))
    draft = drafted(many(tmp_path / "a.csv"))
    with pytest.raises(MedbenchError, match="a name for the dataset"):
        datasets.save(workspace, draft, name="  ")
    with pytest.raises(MedbenchError, match="a column with the file's own splits"):
        datasets.save(workspace, draft, name="a", plan=SplitPlan("file"))
    assert not workspace.datasets.exists() or list(workspace.datasets.iterdir()) == []
    with pytest.raises(MedbenchError, match=r"the id or name of a dataset, found '\.\./\.\./etc'"):
        datasets.load(workspace, "../../etc")


def test_awkward_text_survives(tmp_path: Path, workspace: Workspace) -> None:
    awkward = 'comma, "quote"\nnew line; 漢字 🩺 ' + invented(1)
    rows = [(awkward + str(n), ("+x", "=y")[n % 2]) for n in range(20)]
    draft = drafted(write(tmp_path / "a.csv", ("text", "label"), rows))
    dataset = datasets.load(workspace, datasets.save(workspace, draft, name="漢字"))
    assert dataset.id.startswith("dataset-")
    assert dataset.labels == ("+x", "=y")
    assert dataset.rows([0])[0]["text"].startswith('comma, "quote"\nnew line; 漢字 🩺')


def test_a_preview_shows_the_guess_on_the_users_own_rows(tmp_path: Path) -> None:
    look = datasets.preview(many(tmp_path / "a.csv"), "mine.csv", rows=3)
    assert (look.name, look.format, look.n_records, len(look.rows)) == ("mine.csv", "CSV or TSV", 60, 3)
    assert look.mapping.group == "patient_id"
    assert look.rows[0]["pmid"] == "p0"
    assert any("separated by “;”" in sentence for sentence in look.sentences)


def test_many_cards_list_fast_and_a_damaged_one_is_told(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    first = datasets.save(workspace, drafted(many(tmp_path / "a.csv")), name="first")
    card = json.loads((workspace.dataset(first) / "dataset.json").read_text(encoding="utf-8"))
    later = workspace.datasets / "later-0123456789"
    later.mkdir()
    (later / "dataset.json").write_text(
        json.dumps(card | {"id": later.name, "created": "2999-01-01T00:00:00+00:00"}), encoding="utf-8"
    )
    assert [one["id"] for one in datasets.list_datasets(workspace)] == [later.name, first]
    (later / "dataset.json").write_text("{", encoding="utf-8")
    assert [one["id"] for one in datasets.list_datasets(workspace)] == [first]
    assert str(later) in caplog.text
    with pytest.raises(MedbenchError, match=r"JSON in dataset\.json"):
        datasets.load(workspace, later.name)


@pytest.mark.slow
def test_real_traps_are_caught(shared: Path) -> None:
    def verdict_of(name: str) -> dict[str, float | None]:
        return {one.kind: one.value for one in drafted(shared / "text" / name).findings}

    rows = verdict_of("mtsamples_rows.csv.gz")
    assert rows["conflicting_labels"] == pytest.approx(0.474, abs=0.002)
    assert rows["give_away_column"] is not None
    assert rows["exact_duplicates"] == pytest.approx(0.96, abs=0.01)
    assert verdict_of("medical_abstracts_conflicting_rows.csv.gz")["conflicting_labels"] == pytest.approx(
        0.772, abs=0.002
    )
    assert (verdict_of("cancer_noncancer_train_dev.csv.gz")["keyword_baseline"] or 0) > 0.92
