"""Building blocks of the models that are not attention mechanisms."""
