"""What a cell names, found and checked: model, variant, impl, options and size."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.schema import MODELS, OWN, PEERS, Cell, Job
from harness.worker import corpus, options, sources, task
from harness.worker.shell import Shell
from harness.worker.task import Task
from models.catalog import unknown
from models.model import Model, ModelCost, Size
from models.variant import VARIANTS, Shape, Unsupported, Variant

AUTO = "auto"  # the model chooses its attention, the variant its impl


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """The parts of a cell's network and how they go together."""

    cell: Cell
    model: Model
    model_options: Any
    attention: str  # name of the variant, `auto` resolved
    variant: Variant
    variant_options: Any
    impl: str  # `auto` resolved
    size: Size
    source: str  # fingerprint of the variant's file, or of the network's
    task: Task | None = None

    def network(self) -> nn.Module:
        """Build the network on torch's default device, from torch's default generator.

        Raises:
            Unsupported: the impl or the combination cannot run here.
            ValueError: a value is impossible, such as a length that the mechanism cannot take.
        """
        network = self.model.build(
            self.size, self.model_options, self.variant, self.variant_options, self.impl
        )
        return network if self.task is None else Shell(network, self.task, self.size.vocab)

    def cost(self) -> ModelCost:
        """Return what one step costs on paper."""
        whole = self._cost(self.cell.seq_len)
        if self.cell.phase == "prefill":
            # The output projection is asked for the last token only.
            spared = 2 * self.cell.batch * (self.cell.seq_len - 1) * self.size.d_model
            return _less(whole, spared * self.size.vocab)
        if self.cell.phase == "decode" and self.cell.seq_len > 1:
            before = self._cost(self.cell.seq_len - 1)  # of a causal network: less the last token
            return _less(whole, before.model_flops)
        return whole

    def _cost(self, seq_len: int) -> ModelCost:
        return self.model.cost(
            self.size,
            self.model_options,
            self.variant,
            self.variant_options,
            self.impl,
            self.cell.batch,
            seq_len,
            getattr(torch, self.cell.dtype).itemsize,
        )


def _less(cost: ModelCost, flops: int) -> ModelCost:
    """Return a cost without so many FLOPs of the problem, and of what is executed as they are."""
    return replace(
        cost,
        model_flops=cost.model_flops - flops,
        executed_flops=max(0, cost.executed_flops - flops),
    )


def preload() -> None:
    """Import every model and variant of the house, so that forks of this process have them.

    A file that cannot be imported is left to the cells that name it: they fail, the others do not.
    """
    for name in MODELS:
        importlib.import_module(f"models.{name}")
    for name in VARIANTS.names():
        with suppress(Exception):
            VARIANTS.load(name)


def draw(cell: Cell, plugins: Sequence[str] = (), longest: int = 0) -> Blueprint:
    """Find everything that a cell names.

    Args:
        cell: the cell; `auto` stands for the model's attention and the impl that the variant
            chooses for the cell, its first if it does not choose.
        plugins: files of variants from outside.
        longest: sequence that the network must take, where it is longer than the cell's.

    Raises:
        ValueError: an unknown name (with the nearest), an option or a size that cannot be.
        Unsupported: the mechanism has no form with, or without, a causal mask.
    """
    if cell.model in PEERS:
        return _peer(cell, longest)
    if cell.model not in MODELS:
        raise ValueError(unknown("model", cell.model, [*MODELS, *PEERS]))
    model: Model = importlib.import_module(f"models.{cell.model}").MODEL
    attention = model.attention if cell.attention == AUTO else cell.attention
    variants = VARIANTS.with_files(*map(Path, plugins))
    variant: Variant = variants.load(attention)
    if cell.impl not in {AUTO, *variant.impls}:
        raise ValueError(unknown(f"impl of {attention}", cell.impl, list(variant.impls)))
    model_options, variant_options = split_options(cell, model, variant)
    size = _size(cell, longest)
    impl = _chosen(cell, variant, variant_options, size) if cell.impl == AUTO else cell.impl
    if not (variant.causal if cell.causal else variant.bidirectional):
        raise Unsupported(
            f"{attention}: has no {'causal' if cell.causal else 'bidirectional'} form"
        )
    return Blueprint(
        cell=cell,
        model=model,
        model_options=model_options,
        attention=attention,
        variant=variant,
        variant_options=variant_options,
        impl=impl,
        size=size,
        source=sources.of_file(variants.file(attention)),
        task=None if cell.task is None else task.load(cell.task),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """What a network that brings its own attention leaves to choose of it."""


def _no_mechanism(*_: Any, **__: Any) -> Any:
    raise Unsupported("a network of another package has no mechanism of ours")


BRINGS_OWN = Variant(  # stands where a network brings its own attention
    module=_no_mechanism,
    options=NoOptions,
    impls=(OWN,),
    cost=_no_mechanism,
    causal=True,
    exact=False,
)


def _peer(cell: Cell, longest: int) -> Blueprint:
    module = importlib.import_module(f"models.peers.{cell.model}")
    record, _ = options.split(cell.options, module.MODEL.options, NoOptions)
    return Blueprint(
        cell=cell,
        model=module.MODEL,
        model_options=record,
        attention=OWN,
        variant=BRINGS_OWN,
        variant_options=NoOptions(),
        impl=OWN,
        size=_size(cell, longest),
        source=sources.of_file(Path(str(module.__file__))),
    )


def split_options(cell: Cell, model: Model, variant: Variant) -> tuple[Any, Any]:
    """Return the options of the model and those of the variant.

    Raises:
        ValueError: an unknown option, with the nearest, or a value that cannot be.
    """
    return options.split(cell.options, model.options, variant.options)


def check(job: Job) -> str | None:
    """Return what is wrong with a job as input, or None; nothing large is allocated.

    The network is built on the meta device, which has shapes and no memory. What is unsupported
    is no bad input, and what only a real device can tell is left to the cell.
    """
    try:
        if job.cell.task is None:
            corpus.require(corpus.load(job.data_path), job.cell.seq_len)
        else:
            task.load(job.cell.task).make(task.setting(job.cell, job.data_path))
        blueprint = draw(job.cell, job.plugins)
        with torch.device("meta"):
            blueprint.network()
        blueprint.cost()  # a mechanism says here which lengths it cannot take
    except ValueError as error:
        return str(error)
    except (Unsupported, NotImplementedError, RuntimeError):
        return None
    return None


def _chosen(cell: Cell, variant: Variant, variant_options: Any, size: Size) -> str:
    if variant.choose is None:
        return variant.impls[0]
    shape = Shape(
        batch=cell.batch,
        heads=cell.heads,
        seq_len=cell.seq_len,
        head_dim=size.head_dim,
        causal=cell.causal,
    )
    dtype, training = getattr(torch, cell.dtype), cell.phase == "train_step"
    return variant.choose(
        variant_options, shape, device=cell.device, dtype=dtype, training=training
    )


def _size(cell: Cell, longest: int) -> Size:
    for name in ("seq_len", "batch", "d_model", "heads", "d_ff", "layers", "threads"):
        if getattr(cell, name) < 1:
            raise ValueError(f"{name} is {getattr(cell, name)}; it must be at least 1")
    if cell.d_model % cell.heads:
        raise ValueError(f"d_model {cell.d_model} is not a multiple of heads {cell.heads}")
    if cell.task is None and cell.vocab < corpus.VOCAB:
        raise ValueError(f"vocab {cell.vocab} is too small: bytes need {corpus.VOCAB}")
    return Size(
        vocab=cell.vocab,
        d_model=cell.d_model,
        heads=cell.heads,
        d_ff=cell.d_ff,
        layers=cell.layers,
        max_len=max(cell.seq_len, longest),
        causal=cell.causal,
    )
