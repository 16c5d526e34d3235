"""Procedural pretraining: the rules by other routes, what is taken over, the controls, and interruptions."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from lgbench.data.suites import load_suite
from lgbench.methods.parts import PARTS
from lgbench.methods.registry import method_of
from lgbench.methods.rules import DEEPEST, POP, RULES, Alphabet, Draw, RuleName, Text, rule_rows
from lgbench.models.checkpoint import load_module
from lgbench.models.tokenizer import BEGIN, END, PUBLISHED, Vocabulary
from lgbench.training import steps
from lgbench.training.hooks import Hook
from lgbench.training.modules import build_module
from lgbench.training.spec import RunSpec
from lgbench.training.trainer import Training, train
from lgbench.util.errors import LgbenchError
from tests.methods.method_runs import assert_neutral, assert_same_weights, method_plan
from tests.shell import Shell
from tests.tiny_training import weights

ALPHABET = Alphabet.of(PUBLISHED)
KINDS = len(ALPHABET.symbols)


def texts_of(rule: RuleName, *, kinds: int = KINDS, count: int = 300) -> list[tuple[int, Text]]:
    draw = Draw("test", rule)
    return [(length, RULES[rule](draw, length, kinds)) for length in (2 + draw.below(31) for _ in range(count))]


def answer_of(rule: RuleName, given: list[int]) -> list[int]:
    """The answer by another route than the rule's own code."""
    *parts, _ = "".join(chr(1000 + each) if each >= 0 else "=-"[-1 - each] for each in given).split("=")
    if rule == "identity":
        found = parts[0]
    elif rule == "reverse":
        found = "".join(reversed(parts[0]))
    elif rule in ("set", "union"):
        joined = "".join(parts)
        found = "".join(each for place, each in enumerate(joined) if each not in joined[:place])
    elif rule == "sort":
        found = "".join(each * count for each, count in sorted(Counter(parts[0]).items()))
    elif rule == "delete":
        found = parts[0].replace(parts[1], "", 1)
    else:
        left = parts[0]
        while (shorter := re.sub(r"[^-]-", "", left)) != left:
            left = shorter
        found = left[::-1]
    return [ord(each) - 1000 for each in found]


@pytest.mark.parametrize("rule", ["identity", "reverse", "set", "sort", "union", "delete", "stack"])
@pytest.mark.parametrize("kinds", [KINDS, 5])
def test_answers_by_another_route(rule: RuleName, kinds: int) -> None:
    found = texts_of(rule, kinds=kinds)
    for _, text in found:
        assert text.answer == answer_of(rule, text.given), text
    symbols = [each for _, text in found for each in text.given if each >= 0]
    assert set(symbols) == set(range(kinds)), "every symbol is used"
    extra = {"union": 1, "delete": 2}.get(rule, 0)
    assert all(len(text.given) == length + 1 + extra for length, text in found)


def test_the_stack_never_holds_a_symbol_twice_and_rises_before_it_falls() -> None:
    pushes = []
    for length, text in texts_of("stack", count=2000):
        left: list[int] = []
        for number, each in enumerate(text.given[:-1]):
            if each == POP:
                assert len(left) > 1, "a pop leaves the stack with something"
                left.pop()
            else:
                assert each not in left
                if len(left) > 1:
                    pushes.append((number < 2 * length / 3, 1))
                left.append(each)
                continue
            pushes.append((number < 2 * length / 3, 0))
        assert text.given[-2] == POP or len(left) <= 2, "the last operation pops if it can"
    for early, expected in ((True, 0.75), (False, 0.25)):
        share = [pushed for was_early, pushed in pushes if was_early == early]
        assert abs(sum(share) / len(share) - expected) < 0.06


def test_dyck_words_close_in_the_reverse_order() -> None:
    for length, text in texts_of("dyck"):
        word = "".join(chr(1000 + each) for each in text.answer)
        assert len(word) == length + length % 2
        pairs = "|".join(chr(1000 + kind) + chr(1016 + kind) for kind in range(16))
        while (shorter := re.sub(pairs, "", word)) != word:
            word = shorter
        assert not word


def test_shuffled_dyck_words_close_what_is_open() -> None:
    crossed = False
    for length, text in texts_of("dyck-shuffle"):
        open_now: Counter[int] = Counter()
        order = []
        for each in text.answer:
            if each < 16:
                open_now[each] += 1
                order.append(each)
            else:
                open_now[each - 16] -= 1
                crossed |= order.pop() != each - 16
            assert min(open_now.values()) >= 0
            assert sum(open_now.values()) <= DEEPEST
        assert len(text.answer) == length
    assert crossed


def test_rule_110() -> None:
    table = {"111": 0, "110": 1, "101": 1, "100": 0, "011": 1, "010": 1, "001": 1, "000": 0}
    for length, text in texts_of("eca-110"):
        ring = "".join(map(str, text.given[:-1]))
        around = ring[-1] + ring + ring[0]
        assert text.answer == [table[around[place : place + 3]] for place in range(length)]


def test_rows_of_a_step() -> None:
    rows = rule_rows("identity", ALPHABET, step=3, count=50, longest=9, shuffled=False)
    assert rows == rule_rows("identity", ALPHABET, step=3, count=50, longest=9, shuffled=False)
    assert rows != rule_rows("identity", ALPHABET, step=4, count=50, longest=9, shuffled=False)
    assert {row.start - 2 for row in rows} == set(range(2, 10)), "begin, the symbols, the separator"
    for tokens, start in rows:
        assert (tokens[0], tokens[-1], tokens[start - 1]) == (BEGIN, END, PUBLISHED.encode("=")[0])
        assert set(tokens) <= ALPHABET.tokens
        assert tokens[1 : start - 1] == tokens[start:-1]
    mixed = rule_rows("identity", ALPHABET, step=3, count=50, longest=9, shuffled=True)
    assert all(sorted(row.tokens[row.start :]) == sorted(row.tokens[1 : row.start - 1] + bytes([END])) for row in mixed)
    assert any(row.tokens[row.start : -1] != row.tokens[1 : row.start - 1] for row in mixed)


def test_other_vocabularies() -> None:
    found = Alphabet.of(Vocabulary(("<pad>", "<begin>", "<end>", "<task>", *"abcdefg")))
    assert [found.symbols, found.separator, found.pop] == [(4, 5, 6, 7, 8), 9, 10]
    with pytest.raises(LgbenchError, match="four symbols and two marks"):
        Alphabet.of(Vocabulary(("<pad>", "<begin>", "<end>", "<task>", *"ab")))


FAST = ("steps=3", "batch=4", "length=6")


def started(plan: RunSpec, folder: Path) -> tuple[dict[str, Tensor], Training]:
    """The weights that a run begins with."""
    found: list[tuple[dict[str, Tensor], Training]] = []

    class Looking(Hook):
        def start(self, training: Training) -> None:
            found.append(({name: each.clone() for name, each in training.module.state_dict().items()}, training))
            training.stop("seen")

    train(plan, folder, method=method_of(plan), hooks=[Looking()])
    return found[0]


def fresh(plan: RunSpec) -> dict[str, Tensor]:
    return dict(build_module(plan.settings, None, seed=0, device="cpu").state_dict())


@pytest.mark.parametrize("parts", PARTS)
def test_only_the_parts_that_are_kept_come_from_pretraining(parts: str, tmp_path: Path) -> None:
    plan = method_plan("procedural", "rule=identity", f"parts={parts}", *FAST)
    begun, _ = started(plan, tmp_path)
    _, pretrained = load_module(tmp_path / "points" / "pretrained-identity")
    learned, own = pretrained.state_dict(), fresh(plan)
    of_part = {
        "attention": {"qkv", "out"},
        "feed_forward": {"gate_up", "down"},
        "norms": {"attention_norm", "feed_forward_norm", "norm"},
        "embedding": {"embedding", "head"},
    }
    kept = set().union(*of_part.values()) if parts == "all" else of_part[parts]
    for name, tensor in begun.items():
        assert not torch.equal(learned[name], own[name]), "pretraining moved it"
        if name.split(".")[-2] not in kept:
            assert torch.equal(tensor, own[name]), name
        elif name in ("embedding.weight", "head.weight"):
            used = sorted(ALPHABET.tokens)
            unused = [number for number in range(len(tensor)) if number not in ALPHABET.tokens]
            assert torch.equal(tensor[used], learned[name][used])
            assert torch.equal(tensor[unused], own[name][unused]), "tags stay fresh"
        else:
            assert torch.equal(tensor, learned[name]), name


def test_two_rules_give_a_part_each(tmp_path: Path) -> None:
    plan = method_plan("procedural", "rule=set", "second_rule=eca-110", "second_parts=feed_forward", *FAST)
    begun, training = started(plan, tmp_path)
    one, two = (load_module(tmp_path / "points" / f"pretrained-{rule}")[1].state_dict() for rule in ("set", "eca-110"))
    assert torch.equal(begun["blocks.0.attention.qkv.weight"], one["blocks.0.attention.qkv.weight"])
    assert torch.equal(begun["blocks.0.feed_forward.down.weight"], two["blocks.0.feed_forward.down.weight"])
    assert training.record.extra_cost is not None
    assert (training.record.extra_cost.steps, training.record.extra_cost.examples) == (6, 24)


def test_controls(tmp_path: Path) -> None:
    name = "blocks.0.attention.qkv.weight"
    plain, shuffled, noisy, data = (
        started(method_plan("procedural", *options, *FAST), tmp_path / str(number))[0][name]
        for number, options in enumerate(((), ("control=shuffle",), ("control=noise",), ("control=data",)))
    )
    assert not torch.equal(plain, shuffled)
    assert torch.equal(plain.flatten().sort().values, shuffled.flatten().sort().values), "the same entries"
    ratio = float((noisy - plain).std() / plain.std())
    assert 0.9 < ratio < 1.1
    assert not torch.equal(plain, data)


def test_no_rule_is_the_plain_run(tmp_path: Path) -> None:
    assert_neutral("procedural", "rule=none", folder=tmp_path)


def test_an_interrupted_pretraining_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = method_plan("procedural", "steps=5", "batch=4", "length=6", changes=("steps=4", "evaluate_every=4"))
    whole = train(plan, tmp_path / "whole", method=method_of(plan))
    taken = steps.take_step
    calls = []

    def interrupting(*arguments: object, **named: object) -> Tensor:
        calls.append(1)
        if len(calls) == 2:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)
        return taken(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("lgbench.methods.pretraining.take_step", interrupting)
    with pytest.raises(KeyboardInterrupt):
        train(plan, tmp_path / "pieces", method=method_of(plan))
    assert (tmp_path / "pieces" / "pretraining-identity.safetensors").exists()
    other = plan.model_copy(update={"seed": 7})
    with pytest.raises(LgbenchError, match="is of another training"):
        train(other, tmp_path / "pieces", method=method_of(other))
    pieces = train(plan, tmp_path / "pieces", method=method_of(plan), resume=True)
    assert len(calls) == 5, "no step was taken twice"
    assert_same_weights(tmp_path / "whole", tmp_path / "pieces")
    assert (pieces.curve, pieces.extra_cost) == (whole.curve, whole.extra_cost)
    assert not (tmp_path / "pieces" / "pretraining-identity.safetensors").exists()
    assert weights(tmp_path / "pieces")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("rule=copy",), "rule=copy of 'procedural'"),
        (
            ("rule=set", "parts=norms", "second_rule=set", "second_parts=attention"),
            "must be another one than the first",
        ),
        (("second_rule=set",), "second_rule and second_parts go together"),
        (("second_rule=set", "second_parts=attention"), "must give another part"),
        (("parts=all", "second_rule=set", "second_parts=norms"), "nothing is left for another rule"),
        (("length=1",), "length=1 of 'procedural'"),
        (("steps=0",), "steps=0 of 'procedural'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(LgbenchError, match=message):
        method_plan("procedural", *options)


def test_a_pretrained_model_of_another_shape_is_refused(tmp_path: Path) -> None:
    """What a run pretrained is a checkpoint that others start from, or are told why they cannot."""
    from lgbench.training.planned import planned_start
    from lgbench.training.spec import Recipe
    from tests.tiny_training import TINY

    plan = method_plan("procedural", *FAST)
    started(plan, tmp_path / "a")
    start = planned_start(str(tmp_path / "a" / "points" / "pretrained-identity"), ["blocks.*"])
    other = Recipe(load_suite("mini-v1"), changes=[*TINY, "width=32"], start=start).plan("copy-mqar", "transfer", 0)
    with pytest.raises(LgbenchError, match=r"has shape .* there and .* in the module"):
        train(other, tmp_path / "b")


def test_a_rule_that_is_a_task_of_the_group_is_told_before_training(lgbench: Shell) -> None:
    options = ["--method", "procedural", "--set", "steps=2", "--output", "a"]
    warning = (
        "Warning: in copy-mqar the method procedural gives answers to inputs longer than the arm's (the rule identity "
        "is the group's task string_copy, with up to 32 symbols), so its runs cannot be submitted.\n"
    )
    every = ["reproduce", "--group", "copy-mqar,capitalize-reverse", "--arm", "transfer,control", *options, "--dry-run"]
    assert lgbench(*every).err.count("Warning: ") == 1
    assert warning in lgbench(*every).err
    assert warning not in lgbench(*every, "--method-option", "rule=sort").err
    small = [f"--set={each}" for each in ("layers=1", "heads=1", "width=8", "hidden=8", "batch=64")]
    short = [f"--method-option={each}" for each in ("steps=1", "batch=2")]
    assert warning in lgbench("train", "copy-mqar", "main_only", *options, *small, *short).err
