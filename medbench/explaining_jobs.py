"""Explanations that take a while, worked out in a thread of this process: watched, stopped, kept.

Beside what `batches` keeps, a batch folder `data/batches/<id>/` then holds
    evidence.jsonl   first the batch's mark, then for each record, in their order, its explanations by sentences
and the folder of a model for which nobody had looked `class_words.json`.
"""

from __future__ import annotations

import itertools
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from medbench import class_words, datasets, predicting
from medbench.batch_jobs import Job
from medbench.class_words import ClassWords
from medbench.errors import MedbenchError, Stopped, full_disk
from medbench.evidence_sheet import Told
from medbench.explaining import Study, Tell, explanation_json, study
from medbench.journal import whole_lines
from medbench.record_evidence import sentence_evidence
from medbench.records import Explanation, Faithfulness, Item, Prediction, Span, join_text
from medbench.workspace import Workspace, read_json

log = logging.getLogger("medbench.explaining_jobs")
UNEXPECTED = MedbenchError("an explanation", "an error medbench did not expect", "Look into the log, and report it.")
_RECORDS = 32
ResultT = TypeVar("ResultT")
Work = Callable[[Tell, threading.Event], ResultT]


class Asked(Generic[ResultT]):
    """Something that is being worked out in a thread of its own.

    Attributes:
        share: How far it is, 0-1.
        result: What came out; None until then.
        problem: Why it ended without a result, or None.
    """

    def __init__(self, work: Work[ResultT]) -> None:
        """Begin."""
        self.share = 0.0
        self.result: ResultT | None = None
        self.problem: MedbenchError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(work,), name="explaining", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """True while it is worked on."""
        return self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        """True once it was asked to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask it to stop after the texts in hand."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it has ended, at most so long."""
        self._thread.join(seconds)

    def _tell(self, share: float) -> None:
        self.share = share

    def _work(self, work: Work[ResultT]) -> None:
        try:
            self.result = work(self._tell, self._stop)
        except Stopped:
            return
        except MedbenchError as error:
            self.problem = error
        except Exception as error:  # the end of a thread: logged whole, told in one sentence
            log.exception("An explanation failed.")
            self.problem = full_disk(error) or UNEXPECTED


# --- the sentences of every record of a batch --------------------------------------------------------------------

_asked: dict[str, Asked[int]] = {}
_lock = threading.Lock()


def find_evidence(job: Job) -> Asked[int]:
    """Find the sentences that speak for the labels of every answered record that has none yet; all browsers share it.

    The result is the number of records that have their evidence.
    """
    key = str(job.batch.folder)
    with _lock:
        if key not in _asked or not _asked[key].running:
            _asked[key] = Asked(lambda tell, stop: _find(job, tell, stop))
        return _asked[key]


def at_work(job: Job) -> Asked[int] | None:
    """Return the search for evidence that was started for a batch in this process, running or ended."""
    return _asked.get(str(job.batch.folder))


def _find(job: Job, tell: Tell, stop: threading.Event) -> int:
    batch, path = job.batch, _path(job)
    done, total = _mended(job), batch.done
    pairs = itertools.islice(batch.predictions(), done, None)
    with path.open("a", encoding="utf-8") as file:
        if done == 0 and not path.stat().st_size:
            file.write(json.dumps({"mark": _mark(job)}) + "\n")
        while (part := list(itertools.islice(pairs, _RECORDS))) and not stop.is_set():
            found = sentence_evidence(batch.loaded, [item for item, _ in part], [_wanted(answer) for _, answer in part])
            file.writelines(json.dumps([explanation_json(one) for one in each]) + "\n" for each in found)
            file.flush()
            done += len(found)
            tell(done / max(total, 1))
    return done


def _wanted(answer: Prediction) -> tuple[str, ...]:
    """Return the labels that are worth a reason: the decided ones, else the most probable; none without a text."""
    if answer.problem:
        return ()
    return answer.chosen or (max(answer.labels, key=lambda score: score.probability).label,)


def _path(job: Job) -> Path:
    return job.batch.folder / "evidence.jsonl"


def _mark(job: Job) -> str:
    return str(read_json(job.batch.folder / "batch.json").get("mark"))


def _mended(job: Job) -> int:
    """Cut off a torn last line, or all when the batch was answered anew; return how many records have theirs."""
    path = _path(job)
    lines = whole_lines(path)
    if lines and json.loads(lines[0]).get("mark") != _mark(job):
        path.write_bytes(b"")
        return 0
    return max(len(lines) - 1, 0)


def evidence_of(job: Job) -> list[list[Explanation]]:
    """Return the explanations of the records that have theirs, in file order."""
    path = _path(job)
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        lines = [line for line in file if line.endswith("\n")]
    if not lines or json.loads(lines[0]).get("mark") != _mark(job):
        return []
    return [[_explanation(one) for one in json.loads(line)] for line in lines[1:]]


def _explanation(facts: dict[str, Any]) -> Explanation:
    spans = tuple(Span(**span) for span in facts["spans"])
    measured = Faithfulness(**facts["measured"]) if facts["measured"] else None
    return Explanation(facts["label"], facts["method"], spans, faithfulness=facts["faithfulness"], measured=measured)


def told_of(job: Job) -> Iterator[Told]:
    """Yield the explanations of a batch with their texts, for an export."""
    pairs: Iterator[tuple[Item, Prediction]] = job.batch.predictions()
    for (item, _), found in zip(pairs, evidence_of(job), strict=False):
        for one in found:
            yield Told(item, job.batch.loaded.name_of(one.label), one)


def study_methods(job: Job, methods: Sequence[str], most: int) -> Asked[Study]:
    """Compare methods on records of a batch, evenly spread, each with its most probable label."""

    def work(tell: Tell, stop: threading.Event) -> Study:
        wanted = set(np.linspace(0, job.batch.done - 1, min(most, job.batch.done)).round().astype(int).tolist())
        pairs = [pair for at, pair in enumerate(job.batch.predictions()) if at in wanted]
        told = [(item, labels[0]) for item, answer in pairs if (labels := _wanted(answer))]
        return study(job.batch.loaded, told, methods, tell, stop)

    return Asked(work)


# --- the words of every label ------------------------------------------------------------------------------------


def find_class_words(workspace: Workspace, model_id: str) -> Asked[ClassWords]:
    """Find the words that matter for each label in the texts a model was judged on, and keep them in its folder."""
    return Asked(lambda tell, stop: _class_words(workspace, model_id, tell, stop))


def _class_words(workspace: Workspace, model_id: str, tell: Tell, stop: threading.Event) -> ClassWords:
    loaded = predicting.load_for(workspace, model_id, "text")
    path = loaded.folder / "judged.npz"
    if not path.exists():
        raise MedbenchError(
            "a model that kept its judged texts", repr(model_id), "Train a model here; shipped ones come without."
        )
    dataset = datasets.load(workspace, str(loaded.card["dataset"]["id"]))
    with np.load(path, allow_pickle=False) as judged:
        split, positions, decided = str(judged["split"]), judged["positions"], judged["decided"].astype(bool)
    rows = dataset.rows([int(position) for position in positions])
    texts = [join_text(str(row["title"] or ""), str(row["text"] or "")) for row in rows]
    learnt = split in loaded.card.get("learnt_from", {}).get("splits", ()) or split == "out-of-fold"
    with loaded.lock:
        found = class_words.find(loaded.model, texts, decided, split, seen=learnt, tell=tell, stop=stop)
    class_words.save(loaded.folder, found)
    return found
