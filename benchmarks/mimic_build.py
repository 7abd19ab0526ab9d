"""How fast does `medbench import mimic` build a database from a large MIMIC-III, in how much memory?

    python benchmarks/mimic_build.py [--notes 100000] [--characters 10000] [--tokens]

Writes an invented MIMIC-III download (gzipped, as PhysioNet hands it out) into a temporary folder, runs the command as
a user would, checks that every row arrived, and prints a Markdown table: discharge notes, text, seconds, rows a second,
peak resident memory, size of the database. With --tokens it also tokenises the pairs with one thread, with all cores
inside the tokenizer, and with one process per core, and prints tokens a second.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

TARGET_SECONDS, TARGET_BYTES = 300, 4e9


def run(home: Path, *words: str, **more: str) -> tuple[dict, float, int]:
    """Run one command; returns its JSON answer, seconds, and the highest peak of all children so far in bytes."""
    began = time.perf_counter()
    environment = {**os.environ, "MEDBENCH_HOME": str(home), "PYTHONPATH": str(ROOT), **more}
    command = [sys.executable, "-m", "medbench", *words, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout), seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def build(home: Path, folder: Path, notes: int, characters: int) -> Path:
    """Build and print one row."""
    facts, seconds, peak = run(home, "import", "mimic", str(folder), "--version", "iii")
    lost = [table["name"] for table in facts["tables"] if table["rows"] != table["kept"]]
    rows = sum(table["kept"] for table in facts["tables"])
    size = Path(facts["database"]).stat().st_size
    packed = sum(path.stat().st_size for path in folder.iterdir())
    print("| discharge notes | text GB | gzipped MB | rows | seconds | rows/s | notes/s | peak MB | database MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {notes:,} | {characters / 1e9:.2f} | {packed / 1e6:,.0f} | {rows:,} | {seconds:.1f} | {rows / seconds:,.0f}"
        f" | {notes / seconds:,.0f} | {peak / 1e6:,.0f} | {size / 1e6:,.0f} |",
        flush=True,
    )
    if lost or facts["notes"] == 0:
        sys.exit(f"Rows are missing in {lost}.")
    print(f"Every row of every file arrived; {facts['coded']:,} admissions to train on.")
    print(
        f"Target: under {TARGET_SECONDS} s: {seconds < TARGET_SECONDS}; under 4 GB: {peak < TARGET_BYTES}.", flush=True
    )
    return Path(facts["database"])


def encode(work: tuple[str, list[str]]) -> list[list[int]]:
    """Tokenise texts in a process of its own."""
    from tokenizers import Tokenizer

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = Tokenizer.from_file(work[0])
    tokenizer.no_truncation()
    return [one.ids for one in tokenizer.encode_batch_fast(work[1], add_special_tokens=False)]


def tokens(home: Path, database: Path) -> None:
    """Tokenise in three ways and print tokens a second, reading and storing included in the first two."""
    from medbench.families import _bases
    from medbench.mimic import opened

    file = str(_bases.obtain(_bases.MINILM) / "tokenizer.json")
    print("\n| tokenising | pairs | tokens | seconds | tokens/s |\n|---|---:|---:|---:|---:|")
    for name, parallel in (("one thread", "false"), ("a thread per core (medbench tokens)", "true")):
        for old in database.parent.glob("*.parquet"):
            old.unlink()
        facts, _, _ = run(home, "tokens", str(database), MEDBENCH_TOKENIZERS_PARALLELISM=parallel)
        speed = facts["tokens"] / facts["seconds"]
        print(
            f"| {name} | {facts['pairs']:,} | {facts['tokens']:,} | {facts['seconds']:.1f} | {speed:,.0f} |", flush=True
        )
    began, count, pairs = time.perf_counter(), 0, 0
    with opened(database) as con, ProcessPoolExecutor(os.cpu_count()) as pool:
        con.execute("SELECT prompt, completion FROM pairs")
        while rows := con.fetchmany(256 * (os.cpu_count() or 1)):
            texts = [text for row in rows for text in row]
            parts = np.array_split(np.arange(len(texts)), os.cpu_count() or 1)
            for made in pool.map(encode, [(file, [texts[place] for place in part]) for part in parts]):
                count += sum(map(len, made))
            pairs += len(rows)
    seconds = time.perf_counter() - began
    print(f"| a process per core, nothing stored | {pairs:,} | {count:,} | {seconds:.1f} | {count / seconds:,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--notes", type=int, default=100_000)
    parser.add_argument("--characters", type=int, default=10_000, help="of one note")
    parser.add_argument("--tokens", action="store_true")
    asked = parser.parse_args()
    from mini_mimic import bulk3

    with tempfile.TemporaryDirectory(prefix="mimic-build-") as place:
        folder, home = Path(place) / "mimic", Path(place) / "home"
        characters = bulk3(folder, asked.notes, np.random.default_rng(0), characters=asked.characters)
        database = build(home, folder, asked.notes, characters)
        if asked.tokens:
            tokens(home, database)


if __name__ == "__main__":
    main()
