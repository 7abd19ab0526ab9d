"""The door of medbench: `streamlit run app.py` serves the pages, and the REST API under /api, on one port.

This file plays two parts. Imported as `app` (by `streamlit run app.py`, or by `uvicorn app:app`) it is the server.
Run by that server as a script, once for every visit and click, it is the frame that every page is drawn in.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parent


def frame() -> None:
    """Draw what all pages share, then the page that was asked for."""
    from medbench import ui

    st.set_page_config(page_title="medbench", page_icon="🩺", layout="wide")
    st.html(ui.STYLE)
    pages = {
        "home": ("Home", "🏠"),
        "datasets": ("Datasets", "🗂️"),
        "train": ("Train", "📈"),
        "classify": ("Classify", "🏷️"),
    }
    chosen = st.navigation(
        [
            st.Page(path, title=title, icon=icon, url_path=name, default=name == "home")
            for name, (title, icon) in pages.items()
            if (path := ROOT / "pages" / f"{name}.py").exists()
        ]
    )
    st.sidebar.caption(ui.NOTICE)
    chosen.run()


if __name__ == "__main__":
    frame()
else:
    from importlib.util import find_spec

    from starlette.routing import Mount

    from medbench.workspace import Workspace

    routes = []
    if find_spec("medbench.api"):
        from medbench.api import create_app

        routes.append(Mount("/api", create_app(Workspace.here())))
    app = st.App(Path(__file__).resolve(), routes=routes)
