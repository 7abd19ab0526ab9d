"""Clinical notes: written cases answered rightly, and the time that sections, sentences, scopes and a long PDF take.

    python benchmarks/note_reading.py [--pages 500]

Cases come from `tests/data/assertions_*.tsv`; the note of 10,000 characters and the PDF are put together from them.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

from fpdf import FPDF

from medbench.assertions import assertions, read_mention
from medbench.notes import sections, sentences
from medbench.readers.pdf import read_document

CASES = Path(__file__).resolve().parent.parent / "tests" / "data"


def best(act: Callable[[], object], times: int = 7) -> float:
    """Return the least processor time of several runs, in seconds."""
    taken = []
    for _ in range(times):
        begin = time.process_time()
        act()
        taken.append(time.process_time() - begin)
    return min(taken)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=500)
    pages = parser.parse_args().pages
    texts = []
    print("| cases | absent | coded all the same | present | lost |\n|---|---:|---:|---:|---:|")
    for path in sorted(CASES.glob("assertions_*.tsv")):
        counts = {True: [0, 0], False: [0, 0]}
        for line in path.read_text(encoding="utf-8").splitlines():
            status, marked = line.split("\t")
            marked = marked.replace("\\n", "\n")
            start, end = marked.index("[["), marked.index("]]") - 2
            text = marked.replace("[[", "").replace("]]", "")
            texts.append(text)
            there = status in ("present", "chronic")
            counts[there][0] += 1
            counts[there][1] += read_mention(text, assertions(text), start, end).codable != there
        print(f"| {path.stem} | {counts[False][0]} | {counts[False][1]} | {counts[True][0]} | {counts[True][1]} |")
    note = "\n".join(texts)[:10_000]
    print("\n| 10,000 characters | ms |\n|---|---:|")
    for act in (sections, sentences, assertions):
        print(f"| {act.__name__} | {1_000 * best(lambda act=act: act(note)):.1f} |")
    document = FPDF()
    document.set_font("Helvetica", size=10)
    for page in range(pages):
        document.add_page()
        document.multi_cell(0, 5, f"Page {page}. " + note[:2_400].encode("latin-1", "replace").decode("latin-1"))
    content = bytes(document.output())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = best(lambda: read_document(content), 1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\nA PDF of {pages} pages: {seconds:.1f} s, {grown:.0f} MB more memory at the peak")


if __name__ == "__main__":
    main()
