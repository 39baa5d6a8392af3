"""Pure functions from curves to figures; none imports Streamlit."""
