"""What a run was asked and how it stands, without its cells: quick however many there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from harness.codec import decode
from harness.schema import RunHeader
from harness.storage import archive
from harness.storage.shards import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A run's header with `cells` left empty, and the end of its `run.json`."""

    path: Path
    header: RunHeader
    planned: int  # cells
    state: str  # running, finished, interrupted; of a writer that is gone: interrupted
    ended_at: str | None  # ISO 8601, UTC
    outcomes: Mapping[str, int]  # cells by outcome; empty before the end


def read(folder: Path) -> Outline:
    """Read a run's outline.

    Raises:
        StoreError: the folder holds no readable header.
    """
    path = folder / archive.HEADER
    try:
        data: Any = json.loads(path.read_bytes())
        told = cast("Mapping[str, Any]", data["header"])
        header = decode(RunHeader, {**told, "cells": ()})
        planned = len(told["cells"])
    except FileNotFoundError as error:
        raise StoreError(archive.no_header(folder)) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(archive.bad_header(folder, error)) from error
    state = data.get("state", "running")
    if state == "running" and not archive.is_live(folder):
        state = "interrupted"
    return Outline(
        path=folder,
        header=header,
        planned=planned,
        state=state,
        ended_at=data.get("ended_at"),
        outcomes=data.get("outcomes") or {},
    )
