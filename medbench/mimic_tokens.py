"""Prompt and completion of every admission as token ids, in a Parquet file beside the database.

`data/mimic/<database>.tokens-<hash>.parquet` holds hadm_id, split, prompt (int32 list), completion (int32 list); its
schema's metadata names the tokenizer. Prompts end without a separator and completions begin without one: special tokens
are what a training adds.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medbench.errors import MedbenchError
from medbench.mimic import opened
from medbench.workspace import replacing

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH = 256
WINDOWS = (512, 1024, 2048, 4096)


@dataclass(frozen=True)
class TokenCount:
    """What was tokenised.

    Attributes:
        path: The Parquet file.
        pairs: Number of pairs.
        tokens: Tokens of prompts and completions.
        seconds: Time that reading, tokenising and writing took; 0 when the file was there.
        median: Median tokens of a pair.
        longest: Tokens of the longest pair.
        longer: Window in tokens -> share of pairs (0-1) that do not fit into it.
    """

    path: str
    pairs: int
    tokens: int
    seconds: float
    median: int
    longest: int
    longer: dict[str, float]


def tokenizer_of(folder: Path) -> Path:
    """Return the tokenizer file of a model's folder (or the file itself).

    Raises:
        MedbenchError: There is none.
    """
    path = folder if folder.is_file() else folder / "tokenizer.json"
    if not path.is_file():
        found = "no tokenizer.json in it" if folder.is_dir() else "nothing there"
        raise MedbenchError(
            f"the folder of a model with its tokenizer, {str(folder)!r}",
            found,
            "Name a folder that holds tokenizer.json, or leave it out to take the one that comes with medbench.",
        )
    return path


def tokenise(database: Path, tokenizer: Path, say: Callable[[float, str], None] | None = None) -> TokenCount:
    """Tokenise the pairs of a database with all cores and keep them; the same tokenizer is asked only once.

    The tokenizer is Rust and works on a batch with a thread per core, outside Python's lock; processes would only add
    the way of the texts to them and of the ids back.

    Args:
        database: The file that `mimic.build` returned.
        tokenizer: A `tokenizer.json`, or the folder that holds it.
        say: Told (share done 0-1, sentence) on the way.

    Raises:
        MedbenchError: There are no pairs, or the tokenizer cannot be read.
    """
    file = tokenizer_of(tokenizer)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    path = database.with_name(f"{database.stem}.tokens-{digest[:10]}.parquet")
    if path.exists():
        return _stored(path)
    began = time.perf_counter()
    lengths = _write(database, _loaded(file), path, {"tokenizer": str(file), "sha256": digest}, say)
    return _counted(path, lengths, time.perf_counter() - began)


def _loaded(file: Path) -> Tokenizer:
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # a million notes at once: here its threads are worth having
    from tokenizers import Tokenizer

    try:
        made = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exceptions
        cause = " ".join(str(error).split())[:120]
        raise MedbenchError(
            f"a tokenizer in {file.name}", f"none that can be read ({cause})", "Fetch it again."
        ) from error
    made.no_truncation()
    made.no_padding()
    return made


def _write(
    database: Path,
    tokenizer: Tokenizer,
    path: Path,
    about: dict[str, str],
    say: Callable[[float, str], None] | None,
) -> list[int]:
    """Write the Parquet file; returns the tokens of every pair."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    ids = arrow.list_(arrow.int32())
    columns = {"hadm_id": arrow.int64(), "split": arrow.string(), "prompt": ids, "completion": ids}
    schema = arrow.schema(list(columns.items()), metadata={key: json.dumps(value) for key, value in about.items()})
    lengths: list[int] = []
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for total, rows in _pairs(database):
            texts = [text for row in rows for text in row[2:]]
            made = [one.ids for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
            prompts, completions = made[::2], made[1::2]
            lengths += [len(one) + len(two) for one, two in zip(prompts, completions, strict=True)]
            table = {"prompt": prompts, "completion": completions}
            keys = {"hadm_id": [row[0] for row in rows], "split": [row[1] for row in rows]}
            writer.write_table(arrow.table({**keys, **table}, schema=schema))
            if say:
                say(len(lengths) / total, f"{len(lengths):,} of {total:,} pairs, {sum(lengths):,} tokens.")
    return lengths


def _pairs(database: Path) -> Iterator[tuple[int, list[tuple[Any, ...]]]]:
    """Yield the number of pairs and batches of (hadm_id, split, prompt, completion)."""
    with opened(database) as con:
        row = con.execute("SELECT count(*) FROM pairs").fetchone()
        total = int(row[0]) if row else 0
        if not total:
            raise MedbenchError(
                "a database with notes and codes", "none to pair", "Import a folder with discharge notes."
            )
        con.execute("SELECT hadm_id, split, prompt, completion FROM pairs")
        while rows := con.fetchmany(BATCH):
            yield total, rows


def _stored(path: Path) -> TokenCount:
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    lengths: list[int] = []
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["prompt", "completion"]):
            sizes = [compute.list_value_length(batch.column(name)).to_numpy() for name in ("prompt", "completion")]
            lengths += (sizes[0] + sizes[1]).tolist()
    return _counted(path, lengths, 0.0)


def _counted(path: Path, lengths: list[int], seconds: float) -> TokenCount:
    sizes = np.asarray(lengths, dtype=np.int64)
    longer = {str(window): float(np.mean(sizes > window)) for window in WINDOWS}
    return TokenCount(str(path), len(sizes), int(sizes.sum()), seconds, int(np.median(sizes)), int(sizes.max()), longer)


def as_json(count: TokenCount) -> dict[str, Any]:
    """Return a JSON-ready mapping."""
    return asdict(count)
