"""Pages: widgets only; what they draw is computed in `curves` and `figures`."""
