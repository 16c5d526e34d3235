"""The module that a run trains: the reference model or a user's, checked before the first step."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from lgbench.data.task import Stream
from lgbench.models.checkpoint import Build, call_build, reference_model
from lgbench.models.construction import load_build
from lgbench.models.incremental import as_incremental, check_steps
from lgbench.models.tensors import packed
from lgbench.models.tokenizer import PUBLISHED
from lgbench.training.settings import TrainingSettings
from lgbench.training.spec import RunSpec
from lgbench.util.errors import LgbenchError
from lgbench.util.users_code import user_code

_BATCH, _TIME = 3, 7


def planned_build(plan: RunSpec) -> Build | None:
    """The function that builds the user's module of a plan, with the plan's options; None for the reference model.

    The plan must be one that the user asked for: the code that it names is run.

    Raises:
        LgbenchError: There is no such function, or an option does not fit.
        ModelError: The user's file raised when imported.
    """
    return None if plan.other_model is None else load_build(plan.other_model, plan.model_options)


def build_module(
    settings: TrainingSettings,
    build: Build | None,
    *,
    seed: int,
    device: str,
    vocabulary_size: int = len(PUBLISHED),
    main_tag: int | None = None,
) -> nn.Module:
    """A module with fresh weights that depend on the seed, in training mode.

    Args:
        settings: The shape of the reference model.
        build: A user's function from the vocabulary's size to a module; the reference model if None.
        seed: Of the initial weights.
        device: Where to put it.
        vocabulary_size: Tokens that it reads and writes.
        main_tag: Of the main task, as in `RunSpec.architecture`.

    Raises:
        LgbenchError: The user's module does not map tokens to logits, or the model does not fit into the memory.
    """
    # PyTorch's initialisers draw from its global generator, and a user's module knows no other.
    torch.manual_seed(int(Stream("lgbench", "weights", seed).words(1)[0] >> 1))
    if build is None:
        shape = replace(settings.architecture, main_tag=main_tag)
        return reference_model(shape, vocabulary_size, settings.initial_std).to(device)
    module = call_build(build, vocabulary_size)
    with user_code(f"The module, moved to {device},"):
        module = module.to(device)
    generator = torch.get_rng_state()
    check_module(module, device=device, vocabulary_size=vocabulary_size)
    torch.set_rng_state(generator)
    return module.train()


def check_length(module: nn.Module, tokens: int, like: str, *, device: str) -> None:
    """Try a module on a row as long as it will get one.

    Args:
        module: The module.
        tokens: The row's.
        like: What has as many, for messages.
        device: Where the module is.

    Raises:
        ModelError: It raised.
    """
    was_training, generator = module.training, torch.get_rng_state()
    row = torch.zeros((1, tokens), dtype=torch.int64, device=device)
    what = f"The module, given {tokens} tokens, as many as {like} have,"
    with user_code(what), torch.no_grad():
        module.eval()(row)
    module.train(was_training)
    torch.set_rng_state(generator)


def check_module(module: nn.Module, *, device: str, vocabulary_size: int = len(PUBLISHED)) -> None:
    """Try a module on a small batch.

    Raises:
        LgbenchError: Its output is not a tensor, has another shape or type than logits, is not finite, or depends on
            later tokens; its `step` differs from it; it changes its input; it has nothing to train, or something that
            no checkpoint can hold.
    """
    tokens = torch.arange(_BATCH * _TIME, device=device).reshape(_BATCH, _TIME) % vocabulary_size
    given = tokens.clone()
    logits = _checked(_output(module.eval(), given), vocabulary_size)
    if not torch.equal(given, tokens):
        raise LgbenchError("The module changes the tokens that it is given. Have it work on a copy.")
    _check_causal(module, tokens, logits, vocabulary_size)
    if as_incremental(module) is not None:
        with user_code("The module's step"):
            check_steps(module, tokens)
    _check_trainable(module, tokens)
    _check_savable(module)


def _checked(output: object, vocabulary_size: int) -> Tensor:
    """The output for the small batch, if it is logits."""
    expected = (_BATCH, _TIME, vocabulary_size)
    wanted = f"It must map int64 tokens of shape (batch, time) to floating-point logits, here of shape {expected}."
    if not isinstance(output, Tensor):
        raise LgbenchError(f"The module returned {type(output).__name__}. {wanted}")
    if tuple(output.shape) != expected:
        raise LgbenchError(f"The module returned shape {tuple(output.shape)}. {wanted}")
    if not output.is_floating_point():
        raise LgbenchError(f"The module returned {output.dtype}. {wanted}")
    if not output.isfinite().all():
        raise LgbenchError("The module's logits are not finite, before any training. Check its initial weights.")
    return output


def _check_causal(module: nn.Module, tokens: Tensor, logits: Tensor, vocabulary_size: int) -> None:
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % vocabulary_size
    again = _output(module, changed)
    if isinstance(again, Tensor) and not torch.allclose(logits[:, :-1], again[:, :-1], atol=1e-3, rtol=1e-3):
        raise LgbenchError(
            "The module's logits at a position change with the tokens after it, which it will not have when it writes "
            "a reply. Mask what is to the right of each position."
        )


def _check_trainable(module: nn.Module, tokens: Tensor) -> None:
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise LgbenchError("The module has no parameter that requires a gradient: there is nothing to train.")
    with user_code("The module"):
        depends = module(tokens).requires_grad
    if not depends:
        raise LgbenchError("The module's logits do not depend on its parameters. Is a detach or no_grad in between?")


def _check_savable(module: nn.Module) -> None:
    with user_code("The module's state_dict"):
        state: dict[str, object] = module.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise LgbenchError(
                f"The module's state holds {name!r}, of type {type(value).__name__}; a checkpoint holds tensors only. "
                "Make it a buffer, or have the constructor build it."
            )
        try:
            packed({name: value})
        except Exception as error:  # a type or layout, of which the libraries raise many kinds of errors
            raise LgbenchError(
                f"The module's state holds {name!r}, {value.layout} of {value.dtype}, which no checkpoint can hold. "
                "Make it a buffer that is not persistent, or have the constructor build it."
            ) from error


@torch.no_grad()
def _output(module: nn.Module, tokens: Tensor) -> object:
    with user_code(f"The module, called with int64 tokens of shape {tuple(tokens.shape)},"):
        return module(tokens)
