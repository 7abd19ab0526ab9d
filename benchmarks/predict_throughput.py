"""How fast does `medbench predict` label a large file, how much memory does it take, and what does a kill cost?

    python benchmarks/predict_throughput.py MODEL [--rows 100000]

Makes CSV files of invented records from shuffled sentences of the OHSUMED train half ($MEDBENCH_SHARED), runs the
command as a user would, and prints a Markdown table: rows, seconds, rows a second, peak resident memory of all its
processes. Then it kills a run half-way with SIGKILL and starts it again.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil


def write_records(path: Path, rows: int, seed: int = 0) -> None:
    """Write a CSV of `rows` records with a title and an abstract made of shuffled real sentences."""
    source = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/text/ohsumed_train.csv.gz"
    with gzip.open(source, "rt", encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    sentences = [part for record in records for part in record["abstract"].split(". ") if part]
    rng = np.random.default_rng(seed)
    lengths = rng.choice([record["abstract"].count(". ") + 1 for record in records], size=rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["pmid", "title", "abstract"])
        for number, length in enumerate(lengths):
            text = ". ".join(sentences[at] for at in rng.integers(0, len(sentences), int(length)))
            writer.writerow([number, records[int(rng.integers(0, len(records)))]["title"], text])


def predict(model: str, file: Path, out: Path, kill_after: float | None = None) -> tuple[float, int]:
    """Run the command; return wall seconds and the peak resident bytes of the process and its children."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "medbench", "predict", model, str(file), "--out", str(out), "--json"],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    peak = 0
    while process.poll() is None:
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            peak = max(peak, sum(member.memory_info().rss for member in family))
        except psutil.NoSuchProcess:
            break
        if kill_after is not None and time.perf_counter() - began > kill_after:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.05)
    process.wait()
    return time.perf_counter() - began, peak


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    print("| rows | MB | seconds | rows/s | peak resident MB |\n|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        seconds = 0.0
        for rows in (given.rows // 10, given.rows):
            file, out = Path(folder) / f"{rows}.csv", Path(folder) / f"{rows}.out.csv"
            write_records(file, rows)
            seconds, peak = predict(given.model, file, out)
            with out.open(encoding="utf-8") as answered:
                assert sum(1 for _ in csv.reader(answered)) == rows + 1
            size = file.stat().st_size / 1e6
            print(f"| {rows:,} | {size:.0f} | {seconds:.1f} | {rows / seconds:,.0f} | {peak / 1e6:,.0f} |", flush=True)
        expected = out.read_bytes()
        again = Path(folder) / "again.csv"
        killed, _ = predict(given.model, file, again, kill_after=seconds / 2)
        chunks = len(list((Path(folder) / "again.csv.partial").glob("*.npz")))
        rest, _ = predict(given.model, file, again)
        print(
            f"\nKilled after {killed:.1f} s with {chunks} chunks done; the second call took {rest:.1f} s; "
            f"the result is {'the same' if again.read_bytes() == expected else 'DIFFERENT'}."
        )


if __name__ == "__main__":
    main()
