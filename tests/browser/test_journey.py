"""The whole way of a new user: a PubMed file becomes a dataset, a run, a model, answers, and a PubMed file again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import FILLER, TOPICS
from playwright.sync_api import Page, expect

from medbench.datasets import list_datasets
from medbench.history import read as read_history
from medbench.readers import open_source
from medbench.records import Record
from medbench.runs import list_runs

from .conftest import Server

pytestmark = pytest.mark.browser

PATIENCE = 60_000  # milliseconds for what a busy machine does slowly
OURS = ("OT", "OTO", "GN")
KEYWORDS = ("invented keyword", "follow-up")


def told_by(topic: str, draw: np.random.Generator) -> str:
    words = [*draw.choice(TOPICS[topic].split(), 6), *draw.choice(FILLER, 24)]
    draw.shuffle(words)
    return f"{' '.join(words).capitalize()}."


def nbib_file(path: Path, count: int, first: int, *, labelled: bool) -> Path:
    """Write invented records in the MEDLINE format; labels are MeSH lines, those without keep keywords of their own."""
    draw = np.random.default_rng(first)
    blocks = []
    for number in range(first, first + count):
        topic = list(TOPICS)[number % len(TOPICS)]
        text = told_by(topic, draw)
        half = text.rfind(" ", 0, 80)
        lines = [f"PMID- {number}", "OWN - NLM", f"TI  - Outcome of {TOPICS[topic].split()[0]} in cohort {number}."]
        lines += [f"AB  - {text[:half]}", f"      {text[half + 1 :]}", "AU  - Doe J", "AU  - Roe R", "LA  - eng"]
        lines += [f"MH  - {topic.capitalize()}"] if labelled else ["OTO - NOTNLM", *(f"OT  - {k}" for k in KEYWORDS)]
        lines += [f"SO  - Invented J. 2026;{number}:1-9."]
        blocks.append("\n".join(lines))
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return path


def records_of(path: Path) -> list[Record]:
    reader, source = open_source(path)
    assert reader.name == "medline"
    return list(reader.read(source))


def without_ours(record: Record) -> list[tuple[str, str]]:
    """Return what a record holds besides what medbench has put in."""
    added = record.order.index(("OTO", "medbench")) if ("OTO", "medbench") in record.order else len(record.order)
    return [
        (tag, value)
        for place, (tag, value) in enumerate(record.order)
        if not (place >= added and tag in OURS) and not value.startswith("medbench ")
    ]


def save_dataset(page: Page, server: Server, file: Path) -> None:
    page.goto(f"{server.address}/datasets?add=1")
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("120 records")).to_be_visible(timeout=PATIENCE)
    labels = page.get_by_role("combobox", name="Labels")
    labels.fill("MH")
    page.get_by_role("option", name="MH", exact=True).click()
    expect(page.get_by_text("Labels: column “MH”")).to_be_visible()
    page.get_by_role("button", name="Check the records").click()
    expect(page.get_by_text("Read as they stand")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Save the dataset").click()
    expect(page.get_by_text("Saved. Cite it as")).to_be_visible(timeout=PATIENCE)
    (card,) = list_datasets(server.workspace)
    assert (card["n_rows"], card["labels"]) == (120, [topic.capitalize() for topic in sorted(TOPICS)])


def train(page: Page, server: Server) -> str:
    page.get_by_role("button", name="Train a model on it").click()
    expect(page.get_by_text("The number to beat")).to_be_visible(timeout=PATIENCE)
    page.get_by_text("Linear (TF-IDF)").click()
    page.get_by_role("button", name="Start the run").click(timeout=PATIENCE)
    expect(page.get_by_role("button", name="← All runs")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("button", name="Classify with it")).to_be_visible(timeout=PATIENCE)
    (run,) = list_runs(server.workspace)
    assert (run.state, run.spec["family"]) == ("finished", "linear")
    assert run.model is not None
    return run.model


def classify_text(page: Page, topic: str) -> None:
    page.get_by_role("button", name="Classify with it").click()
    page.get_by_role("textbox", name="Abstract or text").fill(f"We treated 40 patients: {TOPICS[topic]}.")
    page.get_by_role("button", name="Classify", exact=False).and_(page.locator("[kind=primary]")).click()
    expect(page.locator(".mb-yes").first).to_contain_text(topic.capitalize(), timeout=PATIENCE)
    expect(page.locator("mark.mb-for").first).to_be_visible(timeout=PATIENCE)
    marked = " ".join(page.locator("mark.mb-for").all_inner_texts()).lower()
    assert set(TOPICS[topic].split()) & set(marked.split())


def classify_file(page: Page, file: Path, saved: Path) -> Path:
    page.get_by_role("tab", name="A file").click()
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Classify the file").click(timeout=PATIENCE)
    with page.expect_download(timeout=PATIENCE) as coming:
        page.get_by_role("button", name="PubMed (MEDLINE), with answers").click(timeout=PATIENCE)
    assert coming.value.suggested_filename == "search-medbench.nbib"
    coming.value.save_as(saved)
    return saved


def labels_in(record: Record) -> Sequence[str]:
    """Return the keywords that stand behind medbench's own `OTO` line; a text in doubt may have got none."""
    if ("OTO", "medbench") not in record.order:
        return []
    added = record.order.index(("OTO", "medbench"))
    return [value for tag, value in record.order[added:] if tag == "OT"]


def test_from_a_pubmed_file_to_a_labelled_pubmed_file(server: Server, page: Page, tmp_path: Path) -> None:
    page.set_default_timeout(PATIENCE)
    save_dataset(page, server, nbib_file(tmp_path / "training.nbib", 120, 90_000_000, labelled=True))
    model = train(page, server)
    classify_text(page, "oncology")

    sent = nbib_file(tmp_path / "search.nbib", 30, 91_000_000, labelled=False)
    back = records_of(classify_file(page, sent, tmp_path / "back.nbib"))
    asked = records_of(sent)
    assert [without_ours(record) for record in back] == [list(record.order) for record in asked]
    expected = [list(TOPICS)[number % len(TOPICS)].capitalize() for number in range(91_000_000, 91_000_030)]
    right = [truth in labels_in(record) for record, truth in zip(back, expected, strict=True)]
    assert sum(right) >= 27
    notes = [record.fields["GN"] for record in back]
    assert all(f"medbench model: {model}" in note for note in notes)
    assert len(read_history(server.workspace)) == 31
