"""Method: what the words mean, how numbers come about, and what they cannot say."""

from __future__ import annotations

import streamlit as st

from dashboard import theme
from dashboard.glossary import FORMULAE, LIMITS, MEASURING, WORDS


def main() -> None:
    """Show the glossary, the formulae and the limits."""
    st.header("How to read these pages", anchor=False)
    st.markdown(MEASURING)
    st.subheader("Words", anchor=False)
    rows = [{"word": word, "is": meaning} for word, meaning in WORDS.items()]
    st.dataframe(rows, hide_index=True, key="method-words", alt="Glossary", height="content")
    st.subheader("How a cell may end", anchor=False)
    ends = [
        {"outcome": name.replace("_", " "), "sign": sign, "is": theme.MEANINGS[name]}
        for name, (sign, _) in (("ok", ("✓", "")), *theme.OUTCOMES.items())
    ]
    st.dataframe(ends, hide_index=True, key="method-outcomes", alt="Outcomes", height="content")
    st.subheader("Formulae", anchor=False)
    for title, formula, words in FORMULAE:
        st.markdown(f"**{title}**")
        st.code(formula, language=None)
        st.markdown(words)
    st.subheader("Limits", anchor=False)
    st.markdown("\n".join(f"- {limit}" for limit in LIMITS))


main()
