"""Modules that offer `step`: the same replies in linear time, and never a score of a wrong step."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch")

import torch  # after the skip
from torch import Tensor, nn

from lgbench.data.suites import load_suite
from lgbench.doctor.examining import examine
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.construction import load_build
from lgbench.models.decoding import greedy, make_reader
from lgbench.models.incremental import check_steps
from lgbench.models.loaded import Model
from lgbench.models.loading import load_model
from lgbench.models.tokenizer import END, PUBLISHED
from lgbench.results.schema import SystemInfo
from lgbench.training.modules import check_module
from lgbench.training.trainer import train
from lgbench.util.errors import LgbenchError, ModelError
from tests.tiny_training import tiny_plan

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_module.py"
SIZE = len(PUBLISHED)


class Sums(nn.Module):
    """Logits of the sum of all embeddings so far, each weighted by its position."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.read, self.write = nn.Embedding(SIZE, 16), nn.Linear(16, SIZE)
        nn.init.normal_(self.write.weight, std=0.5)
        with torch.no_grad():
            self.write.weight[END] *= 4  # so that rows end, and not all at once
        self.tokens_stepped = self.tokens_whole = 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.tokens_whole += tokens.numel()
        return self.logits(self.summed(tokens, 0))

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.tokens_stepped += tokens.numel()
        before, count = state or (0, 0)
        sums = before + self.summed(tokens, count)
        return self.logits(sums), (sums[:, -1:], count + tokens.shape[1])

    def summed(self, tokens: Tensor, start: int) -> Tensor:
        places = torch.arange(start + 1, start + tokens.shape[1] + 1)[:, None]
        summed: Tensor = (self.read(tokens) * (places * 0.7).cos()).cumsum(dim=1)
        return summed

    def logits(self, sums: Tensor) -> Tensor:
        logits: Tensor = self.write(sums.tanh())
        return logits


class Whole(nn.Module):
    """The same without `step`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.module(tokens)
        return logits


PROMPTS = torch.randint(3, 60, (12, 6), generator=torch.Generator().manual_seed(0))


def test_replies_are_those_of_forward_and_every_token_is_read_twice_at_most() -> None:
    module = Sums().eval()
    whole = greedy(make_reader(Whole(module)), PROMPTS, 60)
    assert len({len(row) for row in whole}) > 3, "rows should end at different times"
    reader = make_reader(module)
    assert greedy(reader, PROMPTS, 60) == whole
    again = [greedy(reader, PROMPTS[start : start + 5], 60) for start in (0, 5, 10)]
    assert [row for part in again for row in part] == whole
    module.tokens_stepped = module.tokens_whole = 0
    greedy(reader, PROMPTS, 60)
    needed = sum(PROMPTS.shape[1] + len(row) - 1 for row in whole)
    assert module.tokens_stepped == needed
    assert module.tokens_whole <= needed + 12 * 60, "read once more, padded, and not for each token"


class Pair(NamedTuple):
    sums: Tensor
    rest: dict[str, Any]


class Nested(Sums):
    """A state of every kind that can be dropped row by row."""

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, (sums, count) = super().step(tokens, state and (state[0].sums, state[0].rest["count"]))
        return logits, [Pair(sums, {"count": count, "name": "n", "none": None, "clock": torch.tensor(count)})]


class Own(Sums):
    """A state that only the module can drop rows of: the batch comes second."""

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, (sums, count) = super().step(tokens, state and (state[0].transpose(0, 1), state[1]))
        return logits, (sums.transpose(0, 1), count)

    def keep_rows(self, state: Any, rows: Tensor) -> Any:
        return state[0][:, rows], state[1]


@pytest.mark.parametrize("kind", [Nested, Own])
def test_states_of_every_kind(kind: type[Sums]) -> None:
    module = kind().eval()
    assert greedy(make_reader(module), PROMPTS, 40) == greedy(make_reader(Whole(module)), PROMPTS, 40)


class Forgets(Sums):
    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        return super().step(tokens, None)


class Second(Own):
    keep_rows = None  # type: ignore[assignment]


class Mixes(Own):
    def keep_rows(self, state: Any, rows: Tensor) -> Any:
        return super().keep_rows(state, rows.flip(0))


class Remembers(Sums):
    """Keeps its state in itself, so that rows that ended are never dropped."""

    kept: Any = None

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        before: Any = None if state is None else self.kept
        logits, self.kept = super().step(tokens, before)
        return logits, "in me"


class Box:
    def __init__(self, kept: Any) -> None:
        self.kept = kept


class Unknown(Sums):
    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, kept = super().step(tokens, state and state.kept)
        return logits, Box(kept)


class LastOnly(Sums):
    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, kept = super().step(tokens, state)
        return logits[:, -1], kept


class NoState(Sums):
    def step(self, tokens: Tensor, state: Any) -> Any:
        return super().step(tokens, state)[0]


class FewerTokens(Sums):
    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, kept = super().step(tokens, state)
        return logits[..., :-1], kept


class NotNumbers(Sums):
    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, kept = super().step(tokens, state)
        return logits * float("nan"), kept


WRONG: list[tuple[type[Sums], str]] = [
    (Forgets, r"step does not agree with its forward: after \d+ tokens, a logit of step is off by .*Without a method"),
    (Second, r"holds a tensor of shape \(1, \d+, 16\) for \d+ rows. Its first dimension must be the rows.*transpose"),
    (Mixes, "does not agree with its forward: after"),
    (Unknown, "holds a Box. Use tuples, lists and dictionaries of tensors"),
    (LastOnly, r"returned logits of shape \(\d+, 152\). It must return logits of shape \(batch, new tokens, vocab"),
    (NoState, "returned Tensor. It must return logits .* and a state"),
    (FewerTokens, r"step returns shape \(\d+, \d+, 151\), forward \(\d+, \d+, 152\)"),
    (NotNumbers, "does not agree with its forward: after 1 tokens"),
]


@pytest.mark.parametrize(("kind", "sentence"), WRONG)
def test_a_wrong_step_is_refused_before_training_and_before_the_first_reply(kind: type[Sums], sentence: str) -> None:
    with pytest.raises(LgbenchError, match=sentence):
        check_module(kind(), device="cpu")
    module = kind().eval()
    with pytest.raises(LgbenchError, match=sentence):
        greedy(make_reader(module), PROMPTS, 5)
    with pytest.raises(LgbenchError, match=sentence):
        CheckpointPredictor(module).predict(["a="], "reverse")


def test_a_state_within_the_module_is_refused() -> None:
    with pytest.raises((LgbenchError, RuntimeError)):
        check_steps(Remembers().eval(), PROMPTS)


class Window(Sums):
    """A state that is too small: right for as many tokens as the check at the start has."""

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, (sums, count) = super().step(tokens, state)
        return logits, (sums if count < 25 else sums * 0, count)


class OneToken(Sums):
    """Wrong after a token that the check at the start does not have."""

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, (sums, count) = super().step(tokens, state)
        return logits, (sums * (tokens[:, -1:, None] < 60), count)


@pytest.mark.parametrize("kind", [Window, OneToken])
def test_what_the_check_at_the_start_cannot_see_is_found_before_replies_are_given(kind: type[Sums]) -> None:
    module = kind().eval()
    check_steps(module, PROMPTS)
    with pytest.raises(LgbenchError, match=r"after \d+ tokens, step writes a token that forward would not write"):
        greedy(make_reader(module), PROMPTS, 60)


class Counts(nn.Module):
    """A module with a method `step` of another purpose."""

    def __init__(self, step: Callable[..., Any]) -> None:
        super().__init__()
        self.scores, self.step = nn.Embedding(SIZE, SIZE), step

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.scores(tokens)
        return scores


@pytest.mark.parametrize("step", [lambda: None, lambda count: count, nn.Linear(3, 3), 7])
def test_a_step_of_another_purpose_is_left_alone(step: Any) -> None:
    module = Counts(step).eval()
    check_module(module, device="cpu")
    assert len(greedy(make_reader(module.eval()), PROMPTS, 3)) == 12


def test_near_ties_depend_neither_on_the_batch_nor_on_the_step() -> None:
    module = Sums().eval()
    with torch.no_grad():  # every logit twice, but for the last bits
        twins = module.write.weight[8:80]
        module.write.weight[80:152] = twins + 1e-7 * twins.abs() * torch.randn(twins.shape)
        module.write.bias[80:152] = module.write.bias[8:80]
    together = greedy(make_reader(module), PROMPTS, 20)
    assert together == [greedy(make_reader(module), prompt[None], 20)[0] for prompt in PROMPTS]
    alone = [greedy(make_reader(Whole(module)), prompt[None], 20)[0] for prompt in PROMPTS]
    assert together == alone


def test_logits_of_ruled_out_tokens_may_be_infinite() -> None:
    class Rules(Sums):
        def logits(self, sums: Tensor) -> Tensor:
            return super().logits(sums).index_fill(2, torch.arange(60, 100), float("-inf"))

    module = Rules().eval()
    assert greedy(make_reader(module), PROMPTS, 30) == greedy(make_reader(Whole(module)), PROMPTS, 30)


def test_a_step_that_raises_is_the_users() -> None:
    class Raises(Sums):
        def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
            raise ValueError("shapes cannot be multiplied")

    with pytest.raises(ModelError, match="raised ValueError: shapes cannot be multiplied") as caught:
        check_module(Raises(), device="cpu")
    assert 'raise ValueError("shapes' in caught.value.user_traceback


def test_the_doctor_finds_a_wrong_step() -> None:
    for kind, state in ((Sums, "ok"), (Forgets, "problem")):
        model = Model(CheckpointPredictor(kind()), SystemInfo(model="x", kind="object"))
        findings = list(examine(model, suite=load_suite("mini-v1"), tasks=["reverse"], seconds=5))
        works = [each for each in findings if each.check == "works"]
        assert (state == "problem") == bool(works)
        assert all("does not agree with its forward" in each.detail for each in works)


def test_the_example_trains_and_is_decoded_step_by_step(tmp_path: Path) -> None:
    build = load_build(f"{EXAMPLE}:build")
    plan = tiny_plan().model_copy(update={"model": f"{EXAMPLE}:build"})
    train(plan, tmp_path / "run", build=build)
    model = load_model(str(tmp_path / "run"), {"build": f"{EXAMPLE}:build"})
    prompts = ["abc=", "cba=", "ab=", "x="]
    assert isinstance(model.predictor, CheckpointPredictor)
    module = model.predictor._module
    replies = model.predictor.predict(prompts, "reverse")
    assert replies == CheckpointPredictor(Whole(module)).predict(prompts, "reverse")
    assert len(EXAMPLE.read_text("utf-8").splitlines()) < 60


def test_the_module_of_the_page_is_the_example() -> None:
    page = (EXAMPLE.parents[1] / "docs" / "architectures.md").read_text("utf-8")
    found = re.search(r"^```python\n# my_module.py\n(.*?)^```$", page, re.M | re.S)
    assert found
    written: dict[str, Any] = {}
    exec(found[1], written)
    one, two = written["build"](SIZE), load_build(f"{EXAMPLE}:build")(SIZE)
    check_module(one, device="cpu")
    one.load_state_dict(two.state_dict())
    assert torch.equal(one(PROMPTS), two(PROMPTS))
