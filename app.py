"""The door of medbench: `streamlit run app.py` serves the pages, and the REST API under /api, on one port.

This file plays two parts. Imported as `app` (by `streamlit run app.py`, or by `uvicorn app:app`) it is the server.
Run by that server as a script, once for every visit and click, it is the frame that every page is drawn in.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st


def frame() -> None:
    """Draw what all pages share, then the page that was asked for."""
    from medbench import ui

    st.set_page_config(page_title="medbench", page_icon="🩺", layout="wide")
    st.html(ui.STYLE)
    pages = [
        st.Page("pages/home.py", title="Home", icon="🏠", default=True),
        st.Page("pages/datasets.py", title="Datasets", icon="🗂️", url_path="datasets"),
        st.Page("pages/train.py", title="Train", icon="📈", url_path="train"),
        st.Page("pages/compare.py", title="Compare", icon="⚖️", url_path="compare"),
        st.Page("pages/classify.py", title="Classify", icon="🏷️", url_path="classify"),
        st.Page("pages/icd.py", title="ICD coding", icon="🧾", url_path="icd"),
        st.Page("pages/lesion.py", title="Lesions", icon="🔬", url_path="lesion"),
        st.Page("pages/review.py", title="Review", icon="📚", url_path="review"),
    ]
    chosen = st.navigation(pages)
    st.sidebar.caption(ui.NOTICE)
    chosen.run()


if __name__ == "__main__":
    frame()
else:
    from starlette.routing import Mount
    from streamlit.runtime.pages_manager import PagesManager

    from medbench import shadowing
    from medbench.api import create_app
    from medbench.workspace import Workspace

    # Until `st.navigation` has been called once, Streamlit takes pages/ for its older kind of app and would run a page
    # without its frame for a visitor who comes straight to /datasets. This says from the start that it is not.
    PagesManager.uses_pages_directory = False
    shadowing.go_on(Workspace.here())
    app = st.App(Path(__file__).resolve(), routes=[Mount("/api", create_app(Workspace.here()))])
