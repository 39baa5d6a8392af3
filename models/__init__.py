"""Attention variants and the models around them: a plain PyTorch library."""
