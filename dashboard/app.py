"""The dashboard's door: settings of the page and navigation."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

PAGES = Path(__file__).parent / "app_pages"
FRONT = {  # file -> title
    "overview": "Overview",
    "scaling": "Scaling",
    "tradeoffs": "Trade-offs",
    "compare": "Compare",
    "history": "History",
    "cell": "Cell",
    "profile": "Profile",
}
MORE = {"live": "Live", "environments": "Environments", "method": "Method"}


def main() -> None:
    """Show the page that the address names."""
    st.set_page_config(page_title="Attention benchmarks", layout="wide")
    front = [page(name, title) for name, title in FRONT.items()]
    more = [page(name, title) for name, title in MORE.items()]
    st.navigation({"": front, "More": more}, position="top").run()


def page(name: str, title: str) -> st.Page:
    """Return a page; the first is the one without a path."""
    path = None if name == "overview" else name
    return st.Page(PAGES / f"{name}.py", title=title, url_path=path, default=path is None)


main()
