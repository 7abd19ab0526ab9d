"""Which rows of a saved dataset hold these words, this label, this split. Reads only the columns it needs."""

from __future__ import annotations

from medbench.datasets import Dataset


def find(dataset: Dataset, words: str = "", *, label: str | None = None, split: str | None = None) -> list[int]:
    """Return the positions of the rows that match everything asked for, ascending.

    Args:
        dataset: A saved dataset.
        words: Must stand, as one stretch, in the title, the text or the id; upper and lower case are the same.
        label: A label code that the row must carry.
        split: train, validation or test.
    """
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    found: list[int] = []
    start = 0
    with parquet.ParquetFile(dataset.folder / "rows.parquet") as file:
        for batch in file.iter_batches(batch_size=10_000, columns=["id", "title", "text", "labels", "split"]):
            keep = compute.equal(batch["split"], split) if split else None
            if words:
                held = [
                    compute.match_substring(batch[name], words, ignore_case=True) for name in ("text", "title", "id")
                ]
                either = compute.or_(compute.or_(held[0], held[1]), held[2])
                keep = either if keep is None else compute.and_(keep, either)
            rows = range(len(batch)) if keep is None else compute.indices_nonzero(keep).to_pylist()
            if label:
                labels = batch["labels"].to_pylist()
                rows = [row for row in rows if label in labels[row]]
            found.extend(start + row for row in rows)
            start += len(batch)
    return found
