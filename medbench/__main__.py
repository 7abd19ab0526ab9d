"""`python -m medbench` and the `medbench` command."""

from __future__ import annotations

from medbench.cli import main

if __name__ == "__main__":
    main()
