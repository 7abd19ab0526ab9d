"""A tree of labels: what is refused, what is implied, probabilities that agree, and hierarchical figures by hand."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import import_planted
from pages_at_work import make_dataset, opened, words_on
from scipy.optimize import minimize
from typer.testing import CliRunner

from medbench import (
    bundles,
    comparing_judged,
    comparing_sheet,
    cross_validation,
    datasets,
    evaluating,
    exporting,
    group_answers,
    hierarchy,
    hierarchy_reading,
    judging,
    label_trees,
    metrics,
    predicting,
    runs,
    trust,
)
from medbench.cli import app
from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.hierarchy import Hierarchy, build
from medbench.records import SPLITS, Device, Examples, Item, RunSpec
from medbench.tasks import get_task
from medbench.tree_order import ordered
from medbench.workspace import Workspace

LABELS = ("flu", "cold", "stroke", "migraine")
PAIRS = [("flu", "infection"), ("cold", "infection"), ("stroke", "brain"), ("migraine", "brain")]


def tree(answer: str = "many") -> Hierarchy:
    return build(LABELS, "one" if answer == "one" else "many", PAIRS)


# --- reading ---------------------------------------------------------------------------------------------------

WRITTEN = {
    "csv": "child,parent\nflu,infection\ncold,infection\nstroke,brain\nmigraine,brain\n",
    "turned": "Parent;Label\ninfection;flu\ninfection;cold\nbrain;stroke\nbrain;migraine\n",
    "tsv": "flu\tinfection\ncold\tinfection\nstroke\tbrain\nmigraine\tbrain",
    "json": '{"infection": ["flu", "cold"], "brain": {"stroke": null, "migraine": {}}}',
    "pairs": '[{"child": "flu", "parent": "infection"}, {"child": "cold", "parent": "infection"},'
    ' {"child": "stroke", "parent": "brain"}, {"child": "migraine", "parent": "brain"}]',
    "flat": '{"flu": "infection", "cold": "infection", "stroke": "brain", "migraine": "brain"}',
    "yaml": "infection:\n  - flu\n  - cold\nbrain:\n  - stroke\n  - migraine\n",
    "indented": "infection\n  flu\n  cold\nbrain\n\t- stroke\n\t- migraine\n",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN.keys())
def test_every_way_to_write_a_tree_gives_the_same_pairs(text: str, tmp_path: Path) -> None:
    assert sorted(hierarchy_reading.read_text(text)) == sorted(PAIRS)
    (tmp_path / "tree").write_text(text, encoding="utf-8-sig")
    assert sorted(hierarchy_reading.read_file(tmp_path / "tree")) == sorted(PAIRS)


BAD_TEXTS = [
    ("", "", "nothing that stands under anything"),
    ("flu\ncold\n", "txt", "nothing that stands under anything"),
    ("{", "json", "Expecting property name"),
    ("a: [", "yaml", "expected"),
    ("flu,infection\ncold\n", "csv", "'cold' on line 2"),
    ("\0\1", "", "a binary file"),
]


@pytest.mark.parametrize(("text", "kind", "found"), BAD_TEXTS)
def test_what_is_no_tree_is_told_in_a_sentence(text: str, kind: str, found: str) -> None:
    with pytest.raises(MedbenchError) as error:
        hierarchy_reading.read_text(text, kind)
    assert found in error.value.found


# --- checking --------------------------------------------------------------------------------------------------

REFUSED = [
    ([*PAIRS, ("flu", "brain")], "two, 'infection' and 'brain'"),
    ([*PAIRS, ("brain", "head"), ("head", "brain")], "a circle: 'brain' under 'head' under 'brain'"),
    ([*PAIRS, ("strooke", "brain")], "'strooke', which is no label of it"),
    ([("a", "b"), ("c", "b")], "'a', 'c', which are no labels of it"),
]


@pytest.mark.parametrize(("pairs", "found"), REFUSED)
def test_a_tree_that_is_none_is_refused(pairs: list[tuple[str, str]], found: str) -> None:
    with pytest.raises(MedbenchError) as error:
        build(LABELS, "many", pairs)
    assert error.value.found == found


def test_a_near_miss_is_named_and_strays_may_be_left_out() -> None:
    pairs = [*PAIRS, ("strooke", "brain"), ("x", "y"), ("y", "brain")]
    with pytest.raises(MedbenchError, match="did you mean 'stroke'"):
        build(LABELS, "many", [*PAIRS, ("strooke", "brain")])
    made = build(LABELS, "many", pairs, leave_out=True)
    assert set(made.parents.items()) == set(PAIRS)
    assert made.notes == ("3 names without a label of this dataset left out: 'strooke', 'x', 'y'.",)


def test_labels_may_be_written_by_their_names_and_a_root_of_all_is_left_out() -> None:
    pairs = [("Influenza", "Infection"), ("COLD", "Infection"), ("Infection", "Everything")]
    made = build(LABELS[:3], "many", [*pairs, ("stroke", "Everything")], label_names={"flu": "Influenza"})
    assert made.parents == {"flu": "Infection", "cold": "Infection"}
    assert made.notes[0] == "'Everything' stands above every label, says nothing, and was left out."
    with pytest.raises(MedbenchError, match="no label under any name"):
        build(LABELS[:2], "many", pairs, label_names={"flu": "Influenza"})


def test_what_stands_where() -> None:
    made = build((*LABELS, "other"), "many", [*PAIRS, ("infection", "any")])
    assert made.above("flu") == ("infection", "any") and made.above("other") == ()
    assert made.inner == ("infection", "any", "brain")
    assert made.below("any") == [0, 1] and made.roots[0] in ("any", "brain")
    assert made.notes == ("1 label in no group: 'other'.",)
    assert [(depth, node) for depth, node, _ in made.outline({})][-1] == (0, "other")
    assert made.facts()["levels"] == 3


def test_it_is_kept_and_read_back(tmp_path: Path) -> None:
    hierarchy.save(tmp_path, tree())
    assert hierarchy.load(tmp_path) == tree()
    assert hierarchy.load(tmp_path / "none") is None
    (tmp_path / hierarchy.FILE).write_text('{"labels": []}')
    with pytest.raises(MedbenchError, match="undamaged label tree"):
        hierarchy.load(tmp_path)
    hierarchy.remove(tmp_path)
    assert hierarchy.load(tmp_path) is None


# --- what is implied -------------------------------------------------------------------------------------------


def test_hierarchical_figures_by_hand() -> None:
    truth = np.array([[1, 0, 0, 0], [0, 0, 1, 1]], dtype=bool)
    decided = np.array([[0, 1, 0, 0], [0, 0, 1, 0]], dtype=bool)
    # Item 1: {flu, infection} against {cold, infection}: 1 in common of 2 and 2.
    # Item 2: {stroke, migraine, brain} against {stroke, brain}: 2 in common of 3 and 2.
    found = metrics.evaluate(
        truth, decided.astype(float), decided, answer="many", rng=np.random.default_rng(0), tree=tree()
    )
    assert found["h_precision"].value == pytest.approx(3 / 4)
    assert found["h_recall"].value == pytest.approx(3 / 5)
    assert found["h_f1"].value == pytest.approx(2 * 3 / 9)
    low, high = found["h_f1"].low, found["h_f1"].high
    assert low is not None and high is not None and low <= 2 * 3 / 9 <= high
    plain = metrics.evaluate(truth, decided.astype(float), decided, answer="many", rng=np.random.default_rng(0))
    assert "h_f1" not in plain
    for name, metric in plain.items():
        assert found[name] == metric, name


def test_without_any_group_the_hierarchical_f1_is_micro_f1(rng: np.random.Generator) -> None:
    truth, decided = rng.random((2, 50, 4)) < 0.4
    lone = Hierarchy(LABELS, "many", {})
    found = metrics.evaluate(truth, decided.astype(float), decided, answer="many", rng=rng, n_boot=0, tree=lone)
    assert found["h_f1"].value == pytest.approx(found["micro_f1"].value)


def test_a_label_above_a_label_is_true_with_it() -> None:
    nested = build(LABELS, "many", [("flu", "cold"), ("stroke", "brain"), ("migraine", "brain")])
    assert nested.nests_labels and nested.label_above.tolist() == [1, -1, -1, -1]
    truth = np.array([[1, 0, 0, 0], [0, 0, 1, 0]], dtype=bool)
    assert nested.closed(truth).tolist() == [[True, True, False, False], [False, False, True, False]]
    assert truth[0, 1] == np.False_
    assert not tree().nests_labels


# --- probabilities ---------------------------------------------------------------------------------------------

ABOVE = np.array([-1, 0, 0, 1, 1, 2, -1])


def test_ordering_is_the_projection_and_never_hurts_the_brier_score(rng: np.random.Generator) -> None:
    prob = rng.random((60, 7))
    found = ordered(prob, ABOVE)
    lower = np.flatnonzero(ABOVE >= 0)
    assert (found[:, lower] <= found[:, ABOVE[lower]] + 1e-12).all()
    limits = [{"type": "ineq", "fun": lambda x, low=low: x[ABOVE[low]] - x[low]} for low in lower]
    for row in range(5):
        nearest = minimize(lambda x, row=row: ((x - prob[row]) ** 2).sum(), prob[row], constraints=limits, tol=1e-12)
        assert found[row] == pytest.approx(nearest.x, abs=1e-5)
    truth = rng.random((60, 7)) < 0.3
    for column in (3, 4, 5, 1, 2):
        truth[:, ABOVE[column]] |= truth[:, column]
    before, after = ((table - truth) ** 2 for table in (prob, found))
    assert (after.sum(axis=1) <= before.sum(axis=1) + 1e-12).all()
    fine = np.sort(rng.random((4, 3)))[:, ::-1]
    assert (ordered(fine, np.array([-1, 0, 1])) == fine).all()


def test_the_groups_of_one_label_sum_and_those_of_many_are_calibrated(rng: np.random.Generator) -> None:
    prob = np.array([[0.5, 0.2, 0.2, 0.1]], dtype=np.float32)
    one = group_answers.fit(tree("one"), prob, prob > 0.4)
    assert one.probabilities(prob)[0].tolist() == pytest.approx([0.3, 0.7])
    assert one.tree.groups == ("brain", "infection")
    # Labels of a group that always come together: as if independent, the group would be claimed far too often.
    risk = rng.random(4000) * 0.6
    together = rng.random(4000) < risk
    truth = np.stack([together, together, ~together, np.zeros(4000, dtype=bool)], axis=1)
    scores = np.stack([risk, risk, 1 - risk, np.full(4000, 0.01)], axis=1).astype(np.float32)
    many = group_answers.fit(tree(), scores, truth)
    at = many.tree.groups.index("infection")
    found = many.probabilities(scores)[:, at]
    naive = 1 - (1 - risk) ** 2
    assert naive.mean() - together.mean() > 0.1
    assert abs(found.mean() - together.mean()) < 0.03
    assert (found >= scores[:, :2].max(axis=1) - 1e-6).all()
    assert group_answers.calibration_error(many, scores, truth) < 0.05


def test_a_group_is_decided_with_its_labels_and_figures_are_those_of_any_label() -> None:
    truth = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=bool)
    decided = np.array([[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=bool)
    held = group_answers.fit(tree(), decided.astype(np.float32) * 0.8, truth)
    rows = {row["label"]: row for row in group_answers.figures(held, decided.astype(np.float32), truth, decided)}
    assert rows["infection"]["recall"] == 1 / 2 and rows["infection"]["precision"] == 1
    assert rows["brain"]["precision"] == 1 / 2 and rows["brain"]["n"] == 1 and rows["brain"]["labels"] == 2


# --- ready-made trees ------------------------------------------------------------------------------------------


def test_ready_trees_of_codes_and_lesions() -> None:
    icd = get_task("icd")
    made = build(("icd10cm:E11.9", "icd10cm:I10"), "many", icd.tree(["icd10cm:E11.9", "icd10cm:I10"]))
    assert "icd10cm:E11" in made.above("icd10cm:E11.9")
    assert len(made.above("icd10cm:E11.9")) == 3
    assert "diabetes" in icd.label_name(made.above("icd10cm:E11.9")[0]).lower()
    lesion = get_task("lesion")
    assert dict(lesion.tree(["mel", "nv", "bcc"])) == {"mel": "malignant", "nv": "benign", "bcc": "malignant"}
    assert lesion.tree(["benign", "malignant"]) == []
    assert get_task("literature").tree(["C01"]) == []


# --- from a dataset to a model, an answer, a comparison ---------------------------------------------------------


@pytest.fixture(scope="module")
def grown(trained: tuple[Workspace, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str, str]:
    """A workspace with a model from before the tree and a keyword model that was trained with it."""
    folder = tmp_path_factory.mktemp("grown") / "home"
    shutil.copytree(trained[0].data.parent, folder)
    place = Workspace.here(folder)
    dataset = datasets.load(place, "planted")
    label_trees.keep(place, dataset.id, label_trees.from_text(dataset, "organ systems\n  neurology\n  cardiology\n"))
    run = runs.start(place, RunSpec(task="literature", family="keywords", dataset=dataset.id))
    *_, last = runs.follow(place, run)
    assert last["kind"] == "finished", (last, (place.run(run) / "log.txt").read_text()[-3000:])
    return place, trained[1], run


def test_a_tree_travels_with_the_model(grown: tuple[Workspace, str, str], tmp_path: Path) -> None:
    place, before, after = grown
    assert predicting.load(place, before).groups is None
    loaded = predicting.load(place, after)
    assert loaded.groups is not None and loaded.groups.tree.groups == ("organ systems",)
    told = loaded.card["hierarchy"]
    assert told["groups"] == 1 and told["levels"] == 2 and told["ece"] < 0.2
    assert told["per_group"][0]["name"] == "organ systems" and told["per_group"][0]["f1"] > 0.8
    assert {"h_f1", "h_precision", "h_recall"} <= set(loaded.card["metrics"])
    assert "h_f1" in loaded.card["baselines"]["majority"]
    [answer] = predicting.predict(loaded, [Item("1", "", "seizure and stroke with migraine, epilepsy, cortex")])
    assert answer.chosen == ("neurology",)
    [group] = answer.groups
    assert group.label == "organ systems" and group.chosen
    assert group.probability >= answer.labels[0].probability
    assert answer.as_json()["groups"][0]["chosen"] is True
    bundle = zipfile.ZipFile(io.BytesIO(bundles.reproduce(place, after)))
    assert b"neurology,organ systems" in bundle.read("tree.csv") and b"tree.csv" in bundle.read("README.md")
    starter = exporting.as_starter(place, after, "tree", "Tree")
    assert hierarchy.load(starter) == loaded.groups.tree


def test_models_old_and_new_are_compared_by_the_tree(grown: tuple[Workspace, str, str]) -> None:
    place, before, after = grown
    sheet = comparing_sheet.compared(place, [before, after], "h_f1")
    assert sheet["metric"] == "h_f1" and "cannot be told from" in sheet["sentences"][0]
    figures = {one["id"]: one["metrics"]["h_f1"] for one in sheet["models"]}
    kept = predicting.load(place, after).card["metrics"]["h_f1"]["value"]
    assert figures[after]["value"] == pytest.approx(kept, abs=1e-4)
    assert figures[before]["low"] <= figures[before]["value"] <= figures[before]["high"]
    assert "hierarchical F1" in comparing_sheet.table(sheet).columns
    assert len(comparing_judged.tree_mark(place, before)) == 8


def test_a_file_is_evaluated_by_the_models_tree(grown: tuple[Workspace, str, str], tmp_path: Path) -> None:
    from conftest import planted_csv

    place, _, after = grown
    table = pd.read_csv(planted_csv(tmp_path / "new.csv", 40, seed=9))
    table.loc[:9, "labels"] = "neurology"  # some labels that the texts do not bear out
    table.to_csv(tmp_path / "new.csv", index=False)
    found = evaluating.evaluate_file(place, after, tmp_path / "new.csv").metrics["h_f1"]
    assert found.low is not None and found.high is not None and found.low < found.value < found.high < 1


def test_a_tree_for_other_labels_is_refused_in_words(grown: tuple[Workspace, str, str]) -> None:
    place = grown[0]
    dataset = datasets.load(place, "planted")
    assert not label_trees.has_ready(dataset)
    with pytest.raises(MedbenchError, match="a tree of your own"):
        label_trees.ready(dataset)
    with pytest.raises(MedbenchError, match="labels of the dataset at the ends"):
        label_trees.from_text(dataset, "heart\n  cardiolgy\n")


def test_one_label_per_item_with_a_tree_is_judged_and_folded(rng: np.random.Generator, tmp_path: Path) -> None:
    words = {"flu": "fever cough", "cold": "sneeze nose", "stroke": "palsy speech", "migraine": "aura headache"}
    labels = [list(words)[number % 4] for number in range(120)]
    texts = [f"{rng.choice(words[label].split())} {rng.integers(9)} patients of a trial" for label in labels]
    truth = np.array([[label == one for one in LABELS] for label in labels])
    whole = Examples(texts, truth, LABELS, "one")
    parts = {name: whole.take(range(at, 120, 3)) for at, name in enumerate(SPLITS)}
    family, fitting = get_family("keywords"), Fitting(rng, Device(), Say())
    judged = judging.judge(family, family.parse({}), parts, fitting=fitting, keep_learning=False, tree=tree("one"))
    assert judged.metrics["h_f1"].value >= judged.metrics["micro_f1"].value
    assert judged.groups is not None
    groups = judged.groups.probabilities(judged.outcome.probabilities)
    assert groups.sum(axis=1) == pytest.approx(1, abs=1e-5)
    judged.groups.save(tmp_path)
    assert (group_answers.load(tmp_path) or judged.groups).tree == tree("one")
    folded = cross_validation.measure(
        family, family.parse({}), parts["train"], parts["validation"], 2, 0, fitting, tmp_path, tree=tree("one")
    )
    assert folded.pooled["h_f1"].value >= folded.pooled["micro_f1"].value
    card: dict[str, Any] = {"notes": []}
    folded.write_on(card)
    assert "h_f1" in card["folds"]["mean"]


def test_labels_inside_labels_agree_in_answers_and_truth(tmp_path: Path, rng: np.random.Generator) -> None:
    place = Workspace.here(tmp_path)
    dataset = datasets.load(place, import_planted(place, tmp_path, rows=120))
    label_trees.keep(place, dataset.id, label_trees.from_text(dataset, "oncology\n  cardiology\n"))
    truth = dataset.examples().truth
    onc, car = dataset.labels.index("oncology"), dataset.labels.index("cardiology")
    assert (truth[:, onc] >= truth[:, car]).all()
    parts = {split: dataset.examples(split) for split in SPLITS}
    family, fitting = get_family("linear"), Fitting(rng, Device(), Say())
    ways: dict[str, Any] = {"fitting": fitting, "keep_learning": False, "tree": dataset.hierarchy}
    judged = judging.judge(family, family.parse({}), parts, **ways)
    assert judged.judged_on.endswith("a label counts as true wherever one below it is")
    judged.trust.save(tmp_path)
    prob = trust.load(tmp_path).calibrate(judged.model.scores(["angina stent", "seizure", "biopsy", "a trial", ""]))
    assert (prob[:, onc] >= prob[:, car]).all()
    assert (judged.outcome.probabilities[:, onc] >= judged.outcome.probabilities[:, car]).all()
    label_trees.take_away(place, dataset.id)
    assert dataset.hierarchy is None and not dataset.examples().truth[:, onc].all()


# --- the doors -------------------------------------------------------------------------------------------------


def test_the_command_line_sets_shows_and_takes_away(home: Workspace, tmp_path: Path) -> None:
    make_dataset(home, tmp_path)
    (tmp_path / "tree.csv").write_text("child,parent\nheart,chest\nlung,chest\n")
    runner = CliRunner()
    bare = runner.invoke(app, ["hierarchy", "cohorts"])
    assert bare.exit_code == 0 and "No tree" in bare.stdout
    made = runner.invoke(app, ["hierarchy", "cohorts", str(tmp_path / "tree.csv"), "--json"])
    assert made.exit_code == 0 and json.loads(made.stdout)["parents"] == {"heart": "chest", "lung": "chest"}
    assert runner.invoke(app, ["hierarchy", "cohorts"]).stdout.splitlines() == ["chest", "  heart", "  lung", "skin"]
    (tmp_path / "tree.csv").write_text("hart,chest\nlung,chest\n")
    wrong = runner.invoke(app, ["hierarchy", "cohorts", str(tmp_path / "tree.csv")])
    assert wrong.exit_code == 2 and "did you mean 'heart'" in wrong.stderr
    assert runner.invoke(app, ["hierarchy", "cohorts", "--ready"]).exit_code == 2
    assert runner.invoke(app, ["hierarchy", "cohorts", "--remove"]).exit_code == 0
    assert datasets.load(home, "cohorts").hierarchy is None


def test_the_page_sets_refuses_and_takes_away(home: Workspace, tmp_path: Path) -> None:
    name = make_dataset(home, tmp_path)
    page = opened("pages/datasets.py", dataset=name)
    page.segmented_control(key="opened_section").set_value("Tree").run()
    page.text_area(key="tree_text").input("chest\n  heart\n  lunk\n")
    page.button(key="tree_keep").click().run()
    assert "did you mean 'lung'" in words_on(page)
    page.text_area(key="tree_text").input("chest\n  heart\n  lung\n")
    page.button(key="tree_keep").click().run()
    assert not page.exception and "Kept. Runs you start from now on use it." in words_on(page)
    assert "<b>chest</b>" in words_on(page) and "1 label in no group: 'skin'." in words_on(page)
    page.button(key="tree_remove").click().run()
    assert datasets.load(home, name).hierarchy is None and not page.exception


def test_groups_are_drawn_where_a_model_answers(
    grown: tuple[Workspace, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _, after = grown
    monkeypatch.setenv("MEDBENCH_HOME", str(place.data.parent))
    page = opened("pages/classify.py", model=after)
    page.text_area(key="classify_text").input("seizure and stroke with migraine, epilepsy, cortex")
    page.button(key="classify_go").click().run()
    assert "✓ organ systems" in words_on(page) and "A group is decided with one of its labels." in words_on(page)
    page = opened("pages/train.py", run=after)
    assert "Each group of the label tree" in words_on(page)
