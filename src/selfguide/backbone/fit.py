"""Weights into a network: the state dict of a checkpoint that fits it, loaded only if every name and shape does."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfguide.backbone.checkpoint import Foreign, read_checkpoint, some
from selfguide.core.errors import UserError
from selfguide.core.weights import check_finite

log = logging.getLogger(__name__)

State = dict[str, Tensor]

#: Parts of names that wrappers add anywhere, or in which a pickled module keeps its own.
_WRAPPERS = {
    "module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_modules", "_parameters", "_buffers",
}  # fmt: skip
#: Of several state dicts that fit, a moving average goes before others, and the learner that it follows last.
_MOVING_AVERAGE = re.compile(r"(^|[._])(teacher|ema|target|momentum|averaged|swa)([._]|$)|encoder_k")
_LEARNER = re.compile(r"(^|[._])(student|online)([._]|$)|encoder_q")
#: Longer prefixes and names, in parts, are none that any training code makes.
_MAX_PREFIX, _MAX_NAME = 16, 100
_UNLIKE = "of another shape or type"


@dataclass(frozen=True)
class _Candidate:
    """What stands under a prefix, converted.

    Attributes:
        prefix: empty for the top level.
        state: its tensors.
        problems: what keeps it from being loaded, by kind.
        num_fitting: how many of the network's tensors it has.
    """

    prefix: str
    state: State
    problems: dict[str, list[str]]
    num_fitting: int

    def __str__(self) -> str:
        return f"'{self.prefix}'" if self.prefix else "the top level"

    @property
    def rank(self) -> int:
        return bool(_MOVING_AVERAGE.search(self.prefix)) - bool(_LEARNER.search(self.prefix))

    def equals(self, other: "_Candidate") -> bool:
        both = self.state.keys() & other.state.keys()  # all but counters of batches
        return all(torch.equal(self.state[name], other.state[name]) for name in both)


def load_fitting(network: nn.Module, path: str | Path, convert: Callable[[State, Any], State]) -> None:
    """Load what fits the network, wherever in a checkpoint it is.

    Training code wraps networks and state dicts, as in {"teacher": {"module.backbone.norm.bias": ...}, "epoch": 9}:
    whatever stands before the network's names is tried as a prefix. Where several state dicts fit, a moving average
    (teacher, EMA) is taken before others, and the log says so.

    Args:
        network: gets the weights.
        path: a file for `read_checkpoint`.
        convert: published state dict, network => state dict of the network; leaves heads out, and may raise anything.

    Raises:
        UserError: it cannot be read, nothing in it fits, or several do and differ, or what fits is not finite.
    """
    where, content = str(path), read_checkpoint(path)
    tensors, expected = _tensors(content), network.state_dict()
    candidates, reasons = [], []
    for prefix in _prefixes(tensors, len(expected) // 2):
        try:
            state = convert(_below(tensors, prefix), network)
        except Exception as error:  # names that are not as published: whatever the conversion stumbles over
            reasons.append(str(error) or type(error).__name__)
            continue
        problems = _problems(expected, state)
        num_fitting = len(expected.keys() & state.keys()) - len(problems[_UNLIKE])
        candidates.append(_Candidate(prefix, state, problems, num_fitting))
    fitting = [found for found in candidates if not any(found.problems.values())]
    if not fitting:
        raise _misfit(candidates, reasons, [*_below(tensors, "")] or [*map(str, content)], len(expected), where)
    best = max(found.rank for found in fitting)
    first, *others = [found for found in fitting if found.rank == best]
    if not all(first.equals(other) for other in others):
        told = ", ".join(map(str, [first, *others]))
        raise UserError(
            f"{where}: several state dicts fit the network, and differ: {told}; keep one of them in a file of its own"
        )
    beside = ", ".join(str(found) for found in fitting if not first.equals(found))
    if first.prefix or beside:
        log.info("%s: weights under %s taken%s", where, first, f"; {beside} would fit too" if beside else "")
    load_exactly(network, first.state, where)


def load_exactly(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict whose names and shapes equal the network's.

    Counters of batches that a batch norm has seen may be missing: no frozen network reads them.

    Raises:
        UserError: lists what is missing, unexpected or of another shape or type; or a tensor is not finite.
    """
    expected = network.state_dict()
    problems = _problems(expected, state)
    if any(problems.values()):
        raise UserError(f"{where}: the weights do not fit the network; {_told(problems)}")
    network.load_state_dict({**expected, **state})
    check_finite(network.state_dict(), where)


def without(state: Mapping[str, Tensor], *prefixes: str) -> State:
    """The tensors outside of classifiers and the like."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(prefixes)}


def _tensors(content: Mapping[str, Any]) -> State:
    """Every tensor of nested mappings by its whole name; floating-point ones as float32."""
    return {
        name: tensor.detach().float() if tensor.is_floating_point() else tensor.detach()
        for name, tensor in _walk(content, "", set())
    }


def _walk(value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
        return
    value = value.state if isinstance(value, Foreign) else value
    if isinstance(value, Mapping) and id(value) not in seen and name.count(".") < _MAX_NAME:
        seen.add(id(value))
        for key, item in value.items():
            yield from _walk(item, f"{name}.{key}" if name else str(key), seen)


def _prefixes(tensors: State, least: int) -> list[str]:
    """What stands before the names of at least so many tensors; the empty one comes first."""
    counts: Counter[str] = Counter({"": least})
    for name in tensors:
        parts = name.split(".")[:_MAX_PREFIX]
        counts.update(".".join(parts[:length]) for length in range(1, len(parts)))
    return [prefix for prefix, count in counts.items() if count >= least]


def _below(tensors: State, prefix: str) -> State:
    """The tensors under a prefix by the rest of their names, without wrappers; where two are one so, the bare one."""
    found: State = {}
    start = f"{prefix}." if prefix else ""
    for whole, tensor in tensors.items():
        if whole.startswith(start):
            name = whole.removeprefix(start)
            bare = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
            if bare == name or bare not in found:
                found[bare] = tensor
    return found


def _problems(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    def unlike(name: str) -> str | None:
        want, found = expected[name], state[name]
        if found.shape != want.shape:
            return f"{name}: expected {tuple(want.shape)}, found {tuple(found.shape)}"
        plain = found.layout == torch.strided and not found.is_meta
        if plain and found.is_floating_point() >= want.is_floating_point():
            return None
        what = str(found.dtype if plain else found.device if found.is_meta else found.layout).removeprefix("torch.")
        return f"{name}: expected {str(want.dtype).removeprefix('torch.')}, found {what}"

    missing = sorted(name for name in expected.keys() - state.keys() if not name.endswith("num_batches_tracked"))
    return {
        "missing": missing,
        "unexpected": sorted(state.keys() - expected.keys()),
        _UNLIKE: sorted(filter(None, map(unlike, expected.keys() & state.keys()))),
    }


def _told(problems: dict[str, list[str]]) -> str:
    return "; ".join(f"{len(names)} {kind}: {some(names)}" for kind, names in problems.items() if names)


def _misfit(
    candidates: list[_Candidate], reasons: list[str], names: list[str], num_expected: int, where: str
) -> UserError:
    """The error where nothing fits: what keeps the nearest candidate from it, and where was looked."""
    near: list[_Candidate] = []
    for found in sorted(candidates, key=lambda candidate: -candidate.num_fitting):
        inside = any(not outer.prefix or found.prefix.startswith(f"{outer.prefix}.") for outer in near)
        if found.num_fitting and not inside:
            near.append(found)
    if not near:
        why = f" ({reasons[0]})" if reasons else ""
        return UserError(f"{where}: no weights of this network in it{why}; it holds {some(names) or 'nothing'}")
    best, *others = near
    under = f" under {best}" if best.prefix else ""
    beside = ", ".join(f"{found} ({found.num_fitting} of {num_expected} fit)" for found in others[:4])
    return UserError(
        f"{where}: the weights{under} do not fit the network; {_told(best.problems)}"
        + (f". Looked at, too: {beside}" if beside else "")
    )
