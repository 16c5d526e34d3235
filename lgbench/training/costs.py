"""What a run has cost, in a sentence."""

from __future__ import annotations

from lgbench.models.devices import peak_flops
from lgbench.training.record import TrainingRecord


def cost(record: TrainingRecord) -> str:
    """What a run has cost so far."""
    examples = record.steps_done * record.plan.settings.batch
    memory = "" if record.peak_memory is None else f", with {record.peak_memory / 1e6:,.0f} MB of memory at most"
    trained = (
        f"Trained {record.parameters:,} parameters on {examples:,} examples ({record.tokens:,} tokens, of which "
        f"{record.target_tokens:,} in targets) in {record.seconds:,.0f} s{_utilization(record)}{memory}."
    )
    return trained if record.extra_cost is None else f"{trained}\n{extra_cost(record)}"


def extra_cost(record: TrainingRecord) -> str:
    """What the method of a run took beyond the plain run, in a sentence; empty where that is nothing."""
    if record.extra_cost is None or record.plan.method is None:
        return ""
    steps, examples, tokens = record.extra_cost.steps, record.extra_cost.examples, record.extra_cost.tokens
    return (
        f"Beyond the plain run, the method {record.plan.method.name} took {steps:,} steps and {examples:,} examples of "
        f"{tokens:,} tokens."
    )


def _utilization(record: TrainingRecord) -> str:
    """How fast the model's matrices were multiplied, and the share of the device's peak, where these are known."""
    if record.flops is None:
        return ""
    seconds = max(record.seconds, 0.1)  # a record rounds to thousandths
    rate, peak = record.flops / seconds, peak_flops(record.machine.device)
    share = "" if peak is None else f", {rate / peak:.1%} of the device's peak in bfloat16"
    return f": {rate / 1e12:.3g} TFLOP/s in its matrices{share}"
