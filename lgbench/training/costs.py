"""What a run has cost, in a sentence."""

from __future__ import annotations

from lgbench.models.devices import peak_flops
from lgbench.training.record import TrainingRecord


def cost(record: TrainingRecord) -> str:
    """What a run has cost so far."""
    examples = record.steps_done * record.plan.settings.batch
    memory = "" if record.peak_memory is None else f", with {record.peak_memory / 1e6:,.0f} MB of memory at most"
    return (
        f"Trained {record.parameters:,} parameters on {examples:,} examples ({record.tokens:,} tokens, of which "
        f"{record.target_tokens:,} in targets) in {record.seconds:,.0f} s{_utilization(record)}{memory}."
    )


def _utilization(record: TrainingRecord) -> str:
    """How fast the model's matrices were multiplied, and the share of the device's peak, where these are known."""
    if record.flops is None:
        return ""
    seconds = max(record.seconds, 0.1)  # a record rounds to thousandths
    rate, peak = record.flops / seconds, peak_flops(record.machine.device)
    share = "" if peak is None else f", {rate / peak:.1%} of the device's peak in bfloat16"
    return f": {rate / 1e12:.3g} TFLOP/s in its matrices{share}"
