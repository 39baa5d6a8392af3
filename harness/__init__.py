"""Measures attention variants: time, peak memory and accuracy over sequence length."""
