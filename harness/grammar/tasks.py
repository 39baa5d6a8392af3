"""The tasks that a suite may name, and what each says of itself without being imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.grammar import declarations
from models.catalog import Catalog

TASKS = Catalog("harness.worker.tasks", "TASK")
PHASE = "train_step"  # of a cell with a task, where the suite gives none


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a task gives a cell where the suite does not."""

    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])  # of the model


def declared(name: str, model: str) -> Declared:
    """Return the fields and the options of a model that a task fills in.

    Of the options those that the model has: a model without a short convolution goes without.
    """
    told = declarations.literals(TASKS.file(name), "TASK")
    model_file = declarations.MODELS_FOLDER / f"{model}.py"
    known = declarations.declaration(model_file, "MODEL").options or ()
    options = {key: value for key, value in told.get("options", {}).items() if key in known}
    return Declared(fields={"phase": PHASE, **told.get("defaults", {})}, options=options)
