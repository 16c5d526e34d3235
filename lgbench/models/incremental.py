"""Modules that can go on from where they stopped reading, so that decoding takes linear time.

A module that only maps whole rows to logits is given the whole row again for every token of a reply. One that offers
`step` is given only what it has not read. That both ways give the same logits is checked before it is relied on; and
what it wrote is read once more, as whole rows, to see that `forward` would have written the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lgbench.util.errors import LgbenchError

TOLERANCE = 1e-3
"""How far logits of `step` may be from those of `forward`, as a share of the largest. Rounding makes less of it."""
_ROUGH_TOLERANCE = 3e-2  # of logits in 16 bits
_ROWS = 2
_READ_AGAIN = 32  # rows at a time: all of a batch would take much memory


class IncrementalModule(Protocol):
    """What a module offers beside `forward` to be decoded in linear time.

    A third method is optional: `keep_rows(state, rows)` returns the state of only these rows of the batch, an int64
    tensor of their numbers. Without it, every tensor in the state has the batch as its first dimension.
    """

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read tokens that follow those read before.

        Args:
            tokens: int64, shape (batch, new tokens): first the whole prompts, then one token for each row.
            state: What the call before returned; None for the first tokens of a batch. Tuples, lists and dictionaries
                of tensors, numbers and None.

        Returns:
            The logits that `forward` has at these positions of the whole row, shape (batch, new tokens, vocabulary),
            and the state.
        """
        ...


def as_incremental(module: nn.Module) -> IncrementalModule | None:
    """The module itself where it offers `step(tokens, state)`; None where it does not."""
    step = getattr(module, "step", None)
    if not callable(step) or isinstance(step, nn.Module):
        return None
    try:
        inspect.signature(step).bind("tokens", "state")
    except TypeError:  # a method of another purpose
        return None
    except ValueError:  # it has no signature to look at
        pass
    return cast(IncrementalModule, module)


def take_step(module: IncrementalModule, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Call a module's `step`, and check what it returns.

    Raises:
        LgbenchError: It is not a pair of logits and a state.
    """
    returned: object = module.step(tokens, state)
    wanted = "It must return logits of shape (batch, new tokens, vocabulary) and a state."
    given = f"The module's step, given tokens of shape {tuple(tokens.shape)}, returned"
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise LgbenchError(f"{given} {type(returned).__name__}. {wanted}")
    logits, state = returned
    if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != tokens.shape:
        shown = f"logits of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise LgbenchError(f"{given} {shown}. {wanted}")
    return logits, state


def keep_rows(module: IncrementalModule, state: Any, rows: Tensor, batch: int) -> Any:
    """The state of only these rows of a batch, shape (kept,).

    Raises:
        LgbenchError: The batch is not the first dimension of a tensor in it, or it holds something else.
    """
    own = getattr(module, "keep_rows", None)
    return own(state, rows) if callable(own) else _kept(state, rows, batch)


def _kept(state: Any, rows: Tensor, batch: int) -> Any:
    if isinstance(state, Tensor):
        if state.ndim > 0 and state.shape[0] != batch:
            raise LgbenchError(
                f"The state of the module's step holds a tensor of shape {tuple(state.shape)} for {batch} rows. Its "
                "first dimension must be the rows, of which those that ended are dropped (nn.GRU and nn.LSTM have them "
                "second: transpose). Or give the module a method keep_rows(state, rows)."
            )
        return state if state.ndim == 0 else state[rows]
    if isinstance(state, dict):
        return {key: _kept(value, rows, batch) for key, value in state.items()}
    if isinstance(state, tuple | list):
        parts = [_kept(value, rows, batch) for value in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    if state is None or isinstance(state, int | float | str):
        return state
    raise LgbenchError(
        f"The state of the module's step holds a {type(state).__name__}. Use tuples, lists and dictionaries of "
        "tensors, numbers and None, or give the module a method keep_rows(state, rows)."
    )


def margin(logits: Tensor) -> Tensor:
    """How far apart two logits of a position must be for `step` and `forward` to agree on which is greater.

    Args:
        logits: Shape (..., vocabulary).

    Returns:
        Shape (...): twice the tolerance, as each may be off.
    """
    exact = logits.dtype in (torch.float32, torch.float64)
    largest = logits.abs().masked_fill(~logits.isfinite(), 0).amax(dim=-1)
    return 2 * (TOLERANCE if exact else _ROUGH_TOLERANCE) * largest


@torch.no_grad()
def check_steps(module: nn.Module, prompts: Tensor) -> None:
    """Compare `step`, given rows in pieces and with a row dropped midway, with `forward`, given the whole rows.

    Args:
        module: A module that offers `step`, in evaluation mode.
        prompts: int64, shape (batch, time).

    Raises:
        LgbenchError: They differ, or `step` does not honour the protocol.
    """
    stepping = as_incremental(module)
    assert stepping is not None
    some = prompts[:_ROWS]
    tokens = torch.cat((some, some.flip(1), some.roll(1, dims=1)))  # three rows even of one prompt
    tokens = torch.cat((tokens, tokens.flip(1)), dim=1)  # and as much again after the prompt
    whole: Tensor = module(tokens)
    read = prompts.shape[1]
    logits, state = take_step(stepping, tokens[:, :read], None)
    _compare(logits, whole[:, :read], at=0)
    for position in range(read, tokens.shape[1]):
        if position == read + 1:
            rows = torch.arange(1, len(tokens), device=tokens.device)
            state = keep_rows(stepping, state, rows, len(tokens))
            tokens, whole = tokens[rows], whole[rows]
        new = slice(position, position + 1)
        logits, state = take_step(stepping, tokens[:, new], state)
        _compare(logits, whole[:, new], at=position)


def _compare(logits: Tensor, whole: Tensor, *, at: int) -> None:
    """Hold logits of `step`, the first of them of position `at`, against those of `forward`."""
    if logits.shape != whole.shape:
        raise _differs(at, f"step returns shape {tuple(logits.shape)}, forward {tuple(whole.shape)}")
    # Infinities, as of tokens that are ruled out, must be the same; what is not a number is equal to nothing.
    off = (logits - whole).abs().masked_fill((logits == whole) & whole.isinf(), 0).amax(dim=-1)
    wrong = ~(off <= margin(whole) / 2)
    if wrong.any():
        row, position = (int(index) for index in wrong.nonzero()[0])
        largest = float(whole[row, position].abs().max())
        raise _differs(
            at + position,
            f"a logit of step is off by {float(off[row, position]):.3g}, and forward's largest is {largest:.3g}",
        )


def _differs(position: int, detail: str) -> LgbenchError:
    return LgbenchError(
        f"The module's step does not agree with its forward: after {position + 1} tokens, {detail}. Given a row in "
        "pieces, step must return the logits that forward has for the whole row. Does the state hold all that later "
        "tokens depend on, each row's own and none of another's? Without a method step(tokens, state) the module is "
        "decoded by forward alone, which takes longer."
    )


@torch.no_grad()
def check_written(module: nn.Module, prompts: Tensor, written: Sequence[Sequence[int]]) -> None:
    """Read whole rows again, and see that `forward` would have written them too. It takes one pass over the rows.

    Args:
        module: The module.
        prompts: int64, shape (batch, time).
        written: What `step` wrote after each prompt.

    Raises:
        LgbenchError: `forward` would have written something else, by more than rounding explains.
    """
    by_length = sorted(filter(written.__getitem__, range(len(written))), key=lambda row: len(written[row]))
    for start in range(0, len(by_length), _READ_AGAIN):
        rows = by_length[start : start + _READ_AGAIN]  # of similar length, so that little is padded
        replies = pad_sequence([torch.tensor(written[row]) for row in rows], batch_first=True, padding_value=-1)
        _check_replies(module, prompts[rows], replies.to(prompts.device))


def _check_replies(module: nn.Module, prompts: Tensor, replies: Tensor) -> None:
    """The same of a few replies, shape (batch, longest), -1 behind the end of each."""
    time, is_written = prompts.shape[1], replies >= 0
    replies = replies.clamp(min=0)  # a later token changes nothing before it
    logits: Tensor = module(torch.cat((prompts, replies[:, :-1]), dim=1))[:, time - 1 :]
    chosen = logits.gather(2, replies[:, :, None])[:, :, 0]
    wrong = ~(logits.amax(dim=-1) - chosen <= margin(logits)) & is_written
    if wrong.any():
        position = int(wrong.nonzero()[0, 1])
        raise _differs(time + position - 1, "step writes a token that forward would not write")
