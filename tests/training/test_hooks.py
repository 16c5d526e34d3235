"""Hooks, optimizers and schedules: called when they should be, and resumed bit by bit."""

from __future__ import annotations

import json
import math
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from lgbench.training.batching import Batch
from lgbench.training.hooks import Hook, KeepPoints, RowSource, StopWhen, check_callbacks, make_hook
from lgbench.training.method import Method
from lgbench.training.planned import PlannedMethod
from lgbench.training.record import CurvePoint, read_training_record
from lgbench.training.rows import Row
from lgbench.training.settings import learning_rate
from lgbench.training.spec import Division, RunSpec
from lgbench.training.steps import make_optimizer
from lgbench.training.trainer import Progress, Training, _hooks_of, train
from lgbench.util.errors import LgbenchError, ModelError
from tests.selection import night
from tests.tiny_training import Interrupted, tiny_plan, weights

PLAN = tiny_plan("steps=23")


class Counting(Hook):
    """Counts its calls over all pieces of a run, and stops it after some steps where asked to."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.calls: Counter[str] = Counter()
        self.seen: list[int] = []
        self._stop_at = stop_at

    def start(self, training: Training) -> None:
        self.seen.append(training.step)

    def step(self, training: Training, loss: Tensor) -> None:
        assert loss.shape == ()
        self.calls["step"] += 1
        if training.step == self._stop_at:
            training.stop("asked to")

    def point(self, training: Training, point: CurvePoint) -> None:
        assert point.step == training.step
        self.calls["point"] += 1

    def end(self, training: Training) -> None:
        self.calls["end"] += 1

    def state(self) -> dict[str, Any]:
        return dict(self.calls)

    def load_state(self, state: dict[str, Any]) -> None:
        self.calls.update(state)


def assert_same_weights(one: Path, two: Path) -> None:
    first, second = weights(one), weights(two)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("changes", [(), ("optimizer=muon",), ("schedule=linear", "optimizer=muon")])
@pytest.mark.parametrize("stop", [10, *night([3, 17])])
def test_a_run_that_a_hook_stopped_resumes_to_the_same_weights_and_losses(
    tmp_path: Path, stop: int, changes: tuple[str, ...]
) -> None:
    """Also in the middle between two points and two reports, where the sums of the loss are carried over."""
    plan = tiny_plan("steps=23", *changes)
    whole = train(plan, tmp_path / "whole")
    hook = Counting(stop)
    stopped = train(plan, tmp_path / "pieces", hooks=[hook])
    assert (stopped.steps_done, stopped.finished) == (stop, False)
    assert not (tmp_path / "pieces" / "checkpoint").exists()
    again = Counting()
    record = train(plan, tmp_path / "pieces", hooks=[again], resume=True)
    assert record.curve == whole.curve
    assert (record.tokens, record.target_tokens) == (whole.tokens, whole.target_tokens)
    assert_same_weights(tmp_path / "whole", tmp_path / "pieces")
    assert again.calls == {"step": 23, "point": 5, "end": 1}, "its state went on from the first piece"
    assert (hook.seen, again.seen) == ([0], [stop])


def test_hooks_must_be_the_same_where_they_have_a_state(tmp_path: Path) -> None:
    train(PLAN, tmp_path, hooks=[Counting(7)])
    with pytest.raises(LgbenchError, match="holds a run with the hook 'Counting', whose state was saved"):
        train(PLAN, tmp_path, resume=True)
    assert train(PLAN, tmp_path, resume=True, hooks=[StopWhen(step=10), Counting()]).steps_done == 10


def test_a_hook_that_raises_loses_nothing(tmp_path: Path) -> None:
    class Failing(Hook):
        def step(self, training: Training, loss: Tensor) -> None:
            if training.step == 13:
                raise ValueError("no more")

    with pytest.raises(ModelError, match=r"The hook .*Failing, in step at step 13, raised ValueError: no more") as told:
        train(PLAN, tmp_path, hooks=[Failing()])
    assert "raise ValueError" in told.value.user_traceback
    assert read_training_record(tmp_path).steps_done == 10
    train(PLAN, tmp_path / "whole")
    train(PLAN, tmp_path, resume=True)
    assert_same_weights(tmp_path, tmp_path / "whole")


class Odd(Counting):
    """Has a state, or tensors, that cannot be saved, from a step on."""

    def __init__(self, method: str, value: Any, since: int = 0) -> None:
        super().__init__()
        self._method, self._value, self._since = method, value, since

    def _returned(self, method: str, usual: Any) -> Any:
        return self._value if method == self._method and self.calls["step"] >= self._since else usual

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self._returned("state", super().state())
        return found

    def tensors(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self._returned("tensors", {})
        return found


_ROUND: list[Any] = []
_ROUND.append(_ROUND)


@pytest.mark.parametrize(
    ("method", "value", "said"),
    [
        (
            "state",
            {"mean": torch.zeros(1)},
            r"The state of the hook Odd cannot be saved: .*Tensor.* belong into `tensors`",
        ),
        ("state", {"round": _ROUND}, "The state of the hook Odd cannot be saved: Circular reference"),
        ("state", [1], "The state of the hook Odd cannot be saved: it is of type list. Its `state` must return a dict"),
        ("state", None, "The state of the hook Odd cannot be saved: it is of type NoneType"),
        ("tensors", {"mean": 1.0}, "The tensors of the hook Odd cannot be saved: 'mean' is of type float"),
        ("tensors", {1: torch.zeros(1)}, "The tensors of the hook Odd cannot be saved: 1 is of type Tensor"),
        ("tensors", [torch.zeros(1)], "The tensors of the hook Odd cannot be saved: they are of type list"),
    ],
)
def test_a_state_that_cannot_be_saved_is_refused_before_the_first_step(
    method: str, value: Any, said: str, tmp_path: Path
) -> None:
    hook = Odd(method, value)
    with pytest.raises(LgbenchError, match=said):
        train(PLAN, tmp_path / "at once", hooks=[KeepPoints(), hook])
    assert (hook.seen, hook.calls) == ([0], Counter())
    if not isinstance(value, dict):
        return
    later = Odd(method, value, since=7)
    with pytest.raises(LgbenchError, match=said):
        train(PLAN, tmp_path / "later", hooks=[later])
    assert read_training_record(tmp_path / "later").steps_done == 5


def test_a_hook_with_a_mistyped_name_is_refused_before_the_run(tmp_path: Path) -> None:
    class Silent(Hook):
        def on_log(self, training: Training, loss: Tensor) -> None:
            raise AssertionError

        def state(self) -> dict[str, Any]:
            return {"seen": 1}

    class Mistyped(StopWhen):
        def before_steps(self, training: Training, batch: Batch) -> None:
            raise AssertionError

    class Rowless(RowSource):
        def step(self, training: Training, loss: Tensor) -> None:
            raise AssertionError

    for hook, said in (
        (Silent(), "The hook Silent does nothing: it overrides none of start, before_step, step, point, end."),
        (Mistyped(step=3), "The hook Mistyped defines 'before_steps', .* Did you mean 'before_step'"),
        (Rowless(), "The hook Rowless does nothing: it overrides none of rows."),
    ):
        with pytest.raises(LgbenchError, match=said):
            train(PLAN, tmp_path, hooks=[hook])
    assert not (tmp_path / "training.json").exists()


def test_a_hook_may_get_its_callbacks_from_a_mixin_or_as_attributes() -> None:
    class Mixin:
        def point(self, training: Training, point: CurvePoint) -> None: ...

    class Mixed(Mixin, Hook): ...

    class Plain(Hook): ...

    check_callbacks(Mixed())
    attributed = Hook()
    attributed.step = lambda training, loss: None  # type: ignore[method-assign]
    check_callbacks(attributed)
    with pytest.raises(LgbenchError, match="does nothing"):
        check_callbacks(Plain())


def test_weights_are_kept_at_every_point(tmp_path: Path) -> None:
    train(PLAN, tmp_path, hooks=[KeepPoints()])
    kept = sorted(path.name for path in (tmp_path / "points").iterdir())
    assert kept == ["step10", "step15", "step20", "step23", "step5"]
    last = json.loads((tmp_path / "points" / "step23" / "checkpoint.json").read_text("utf-8"))
    assert last["steps"] == 23
    for name in ("model.safetensors", "checkpoint.json"):
        kept_bytes = (tmp_path / "points" / "step23" / name).read_bytes()
        assert kept_bytes == (tmp_path / "checkpoint" / name).read_bytes()
    first = (tmp_path / "points" / "step5" / "model.safetensors").read_bytes()
    assert first != (tmp_path / "checkpoint" / "model.safetensors").read_bytes()


def test_a_run_stops_when_a_target_is_reached(tmp_path: Path) -> None:
    assert train(PLAN, tmp_path / "a", hooks=[StopWhen(accuracy=0.0)]).steps_done == 5
    assert train(PLAN, tmp_path / "b", hooks=[StopWhen(accuracy=1.0)]).finished
    assert train(PLAN, tmp_path / "c", hooks=[StopWhen(step=11)]).steps_done == 15


@pytest.mark.parametrize("asked", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]], ids=["Ctrl-C", "SIGTERM twice"])
def test_a_run_that_is_asked_to_end_saves_the_step_at_work(asked: list[signal.Signals], tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def interrupt(progress: Progress) -> None:
        if progress.step == 20:
            for number in asked:
                os.kill(os.getpid(), number)

    plan = tiny_plan("steps=40", "evaluate_every=40")
    with pytest.raises(KeyboardInterrupt):
        train(plan, tmp_path / "pieces", report=interrupt)
    assert read_training_record(tmp_path / "pieces").steps_done == 20, "before the first point"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    record, whole = train(plan, tmp_path / "pieces", resume=True), train(plan, tmp_path / "whole")
    assert record.curve == whole.curve
    assert_same_weights(tmp_path / "pieces", tmp_path / "whole")


def test_a_ctrl_c_in_the_last_step_is_not_lost(tmp_path: Path) -> None:
    """The run is finished, but what comes after it, another run for example, does not begin."""

    def interrupt(progress: Progress) -> None:
        if progress.step == PLAN.settings.steps:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train(PLAN, tmp_path, report=interrupt)
    assert read_training_record(tmp_path).finished
    assert train(PLAN, tmp_path, resume=True).finished


def test_hooks_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(make_hook("keep-points", {}), KeepPoints)
    assert isinstance(make_hook("stop-when", {"accuracy": "0.9", "zone": "transfer"}), StopWhen)
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from lgbench.training.hooks import Hook\n\nclass Mine(Hook):\n    def __init__(self, n: int): self.n = n\n",
        "utf-8",
    )
    assert make_hook("mine.py:Mine", {"n": "3"}).n == 3  # type: ignore[attr-defined]
    for name, options, words in (
        ("stop-when", {}, "needs an accuracy or a step"),
        ("stop-when", {"zone": "far", "step": "1"}, "'far' is not a valid zone"),
        ("stop-wen", {}, "names no hook. Write keep-points, stop-when, tensorboard, or file.py:attribute"),
        ("mine.py:Mine", {}, "needs the hook option 'n': add --hook-option mine.py:Mine.n=VALUE"),
        ("builtins:dict", {}, "made a dict, which is not a subclass of"),
    ):
        with pytest.raises(LgbenchError, match=words):
            make_hook(name, options)


def test_tensorboard_gets_the_curve(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    record = train(PLAN, tmp_path, hooks=[make_hook("tensorboard", {"every": "1"})])
    log = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()  # type: ignore[no-untyped-call,unused-ignore]
    assert [event.step for event in log.Scalars("loss")] == list(range(1, 24))
    assert [event.step for event in log.Scalars("accuracy/transfer")] == [point.step for point in record.curve]


def test_tensorboard_logs_through_no_link(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (run := tmp_path / "run").mkdir()
    (run / "tensorboard").symlink_to(elsewhere)
    with pytest.raises(LgbenchError, match="tensorboard' is a link"):
        train(PLAN, run, hooks=[make_hook("tensorboard", {})])
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("schedule", ["trapezoid", "cosine", "linear"])
def test_schedules(schedule: str) -> None:
    settings = tiny_plan("steps=100", "warmup=0.1", "decay=0.4", f"schedule={schedule}").settings
    rates = [learning_rate(settings, step) / settings.learning_rate for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    shapes: dict[str, Callable[[int], float]] = {
        "trapezoid": lambda step: 1.0 if step < 60 else (1 + math.cos(math.pi * (step - 59) / 41)) / 2,
        "cosine": lambda step: (1 + math.cos(math.pi * (step - 9) / 91)) / 2,
        "linear": lambda step: 1 - (step - 9) / 91,
    }
    assert rates[10:] == pytest.approx([shapes[schedule](step) for step in range(10, 100)])
    assert 0 < rates[-1] < 0.02
    assert learning_rate(settings, 30, highest=2.0) == pytest.approx(2 * rates[30])


def test_muon_takes_the_matrices_inside_and_adamw_the_rest() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.inner = nn.Embedding(7, 4), nn.Linear(4, 4)
            self.norm, self.outer = nn.LayerNorm(4), nn.Linear(4, 7)

    module = Tied()
    optimizers = make_optimizer(module, tiny_plan("optimizer=muon").settings)
    names = {id(each): name for name, each in module.named_parameters()}
    ordered = [names[id(each)] for each in optimizers.parameters]
    assert sorted(ordered) == sorted(names.values()), "each is trained once"
    of_muon = [name for number, name in enumerate(ordered) if optimizers.moment_names(number) == {"momentum_buffer"}]
    assert of_muon == ["inner.weight"]
    with pytest.raises(LgbenchError, match="needs linear layers inside the module"):
        make_optimizer(nn.Linear(2, 2), tiny_plan("optimizer=muon").settings)


def test_muon_is_pytorchs_own() -> None:
    """One step of a matrix equals a step of `torch.optim.Muon` at the same rate."""
    torch.manual_seed(0)
    settings = tiny_plan("optimizer=muon", "steps=10", "schedule=trapezoid", "warmup=0", "decay=0").settings
    inner, twin = nn.Linear(3, 5), nn.Linear(3, 5)
    module = nn.Sequential(inner, nn.Linear(5, 2))
    twin.load_state_dict(inner.state_dict())
    muon: Any = torch.optim.Muon
    peer = muon([twin.weight], lr=settings.matrix_learning_rate, weight_decay=settings.weight_decay)
    gradient = torch.randn(5, 3)
    for weight in (inner.weight, twin.weight):
        weight.grad = gradient.clone()
    make_optimizer(module, settings).step(settings, 0)
    peer.step()
    assert torch.equal(inner.weight, twin.weight)


def test_a_run_killed_before_its_checkpoint_ends_its_hooks_when_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is ended has been started: TensorBoard would close a writer that it never opened."""
    calls: list[str] = []

    class Opened(Hook):
        def start(self, training: Training) -> None:
            calls.append("start")

        def end(self, training: Training) -> None:
            calls.append("end")

    def kill(self: Training, place: Path) -> None:
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_save_weights", kill)
        with pytest.raises(Interrupted):
            train(PLAN, tmp_path, hooks=[Opened()])
    assert train(PLAN, tmp_path, hooks=[Opened()], resume=True).finished
    assert calls == ["start", "end", "start", "end"]
    assert weights(tmp_path)


def test_a_state_that_no_run_can_go_on_from_is_not_saved_on_the_way(tmp_path: Path) -> None:
    """Between two looks at the loss too, when a hook or Ctrl-C ends the run."""

    class Spoil(Hook):
        def step(self, training: Training, loss: Tensor) -> None:
            if training.step == 7:
                with torch.no_grad():
                    next(training.module.parameters()).fill_(float("nan"))
                training.stop("enough")

    with pytest.raises(LgbenchError, match=r"The weights are no longer numbers .* The state after step 5 is in"):
        train(PLAN, tmp_path, hooks=[Spoil()])
    assert read_training_record(tmp_path).steps_done == 5


def test_a_method_with_rows_of_its_own_is_open(tmp_path: Path) -> None:
    class Rows(RowSource):
        def rows(self, step: int) -> list[Row]:
            return []

    class Sourced(Method):
        """Rows from anywhere."""

        division: ClassVar[Division] = "closed"
        count: int = 1

        def hooks(self, plan: RunSpec) -> Sequence[Hook]:
            return [Rows() for _ in range(self.count)]

    class Declared(Sourced):
        """The same, declared."""

        division: ClassVar[Division] = "open"

    with pytest.raises(LgbenchError, match=r"provides the examples itself .* must be 'open', not 'closed'"):
        _hooks_of(Sourced(), PLAN)
    with pytest.raises(LgbenchError, match="has 2 sources of examples"):
        _hooks_of(Declared(count=2), PLAN)
    assert len(_hooks_of(Declared(), PLAN)) == 1


def test_what_a_diverging_run_measures_is_left_out_and_other_types_are_refused(tmp_path: Path) -> None:
    class Measuring(Hook):
        def __init__(self, value: object) -> None:
            self.value = value

        def step(self, training: Training, loss: Tensor) -> None:
            training.measure({"bad": self.value, "good": float(training.step)})  # type: ignore[dict-item]

    record = train(tiny_plan("steps=2"), tmp_path / "a", hooks=[Measuring(float("nan"))])
    assert [(each.step, each.values) for each in record.measures] == [(1, {"good": 1.0}), (2, {"good": 2.0})]
    for value in ("high", True, None):
        with pytest.raises(LgbenchError, match=f"measure takes numbers by name; 'bad' is {value!r}"):
            train(tiny_plan("steps=2"), tmp_path / repr(value), hooks=[Measuring(value)])


def test_a_closed_method_that_changes_the_data_is_stopped_at_once(tmp_path: Path) -> None:
    """A hook beside it may do so: the run is then of no arm, and says so."""

    class Annealing(Hook):
        def step(self, training: Training, loss: Tensor) -> None:
            if training.step == 3:
                main, *_ = training.plan.mixture.parts
                training.set_mixture([main._replace(share=Fraction(1))])

    class Annealed(Method):
        """The main task alone after three steps."""

        division: ClassVar[Division] = "closed"

        def hooks(self, plan: RunSpec) -> Sequence[Hook]:
            return [Annealing()]

    planned = PlannedMethod(name="mine.py:Annealed", options={}, division="closed")
    plan = tiny_plan("steps=5").model_copy(update={"method": planned})
    with pytest.raises(LgbenchError, match=r"mine\.py:Annealed.* changes what the run trains on, so its class needs"):
        train(plan, tmp_path / "method", method=Annealed())
    assert train(tiny_plan("steps=5"), tmp_path / "hook", hooks=[Annealing()]).data_changed
