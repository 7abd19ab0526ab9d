"""Read every file of a folder of real exports and print what became of each, as a Markdown table.

    python benchmarks/import_formats.py [FOLDER]

FOLDER is $MEDBENCH_SHARED/data/import-formats (../shared by default). Exits with 1 when a file raises anything but a
MedbenchError, or when a RIS file holds fewer records than rispy finds in it.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from medbench.errors import MedbenchError
from medbench.readers import Account, open_source


@dataclass
class Row:
    """One line of the table."""

    file: str
    format: str = "-"
    account: Account | None = None
    reason: str = ""
    titles: int = 0
    texts: int = 0
    failed: bool = False


def look(path: Path, name: str) -> Row:
    """Read one file to its end."""
    row = Row(name)
    try:
        reader, source = open_source(path)
        row.format, row.account = reader.title, Account()
        for record in row.account.watch(reader.read(source)):
            lowered = {key.lower(): any(values) for key, values in record.fields.items()}
            row.titles += any(lowered.get(key) for key in reader.roles["title"])
            row.texts += any(lowered.get(key) for key in reader.roles["text"])
    except MedbenchError as error:
        row.reason = str(error)
    except Exception as error:  # noqa: BLE001 - this is what the benchmark is there to catch
        row.reason, row.failed = f"BUG {type(error).__name__}: {error}", True
    else:
        reasons = Counter(reason for _, _, reason in row.account.entries)
        row.reason = "; ".join([*source.notices, *(f"{reason} ({count})" for reason, count in reasons.most_common(2))])
        row.failed = reader.name == "ris" and not agrees(path, row)
    return row


def agrees(path: Path, row: Row) -> bool:
    """Compare the count with rispy's, which raises on some of these files and loses records in none it reads."""
    import rispy

    try:
        theirs = len(rispy.loads(path.read_text(encoding="utf-8-sig")))
    except Exception as error:  # noqa: BLE001 - the other library's failure is a remark, not ours
        row.reason += f" [rispy: {type(error).__name__}]"
        return True
    if row.account is not None and theirs != row.account.total:
        row.reason += f" [rispy finds {theirs}]"
        return theirs < row.account.total
    return True


def main() -> int:
    shared = Path(os.environ.get("MEDBENCH_SHARED", "../shared"))
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else shared / "data" / "import-formats"
    started = time.perf_counter()
    rows = [look(path, str(path.relative_to(folder))) for path in sorted(folder.rglob("*")) if path.is_file()]
    seconds = time.perf_counter() - started
    print(
        "| file | format | read | repaired | refused | title | text | reason |\n|---|---|---:|---:|---:|---:|---:|---|"
    )
    for row in rows:
        count = row.account
        numbers = f"{count.read} | {count.repaired} | {count.refused}" if count else "- | - | -"
        reason = row.reason.replace("|", "\\|").replace("\n", " ")
        print(f"| {row.file} | {row.format} | {numbers} | {row.titles} | {row.texts} | {reason} |")
    usable = sum(row.account is not None for row in rows)
    records = sum(row.account.total for row in rows if row.account)
    failed = sum(row.failed for row in rows)
    print(f"\n{len(rows)} files: {usable} read ({records:,} records), {len(rows) - usable} refused, {failed} failed.")
    print(f"{seconds:.1f} s", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
