"""The laboratory: the only rooms of the harness that import torch."""
