"""`lgbench analyze`: what happens inside a model, and what goes wrong in its replies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli._analysis import (
    Analysis,
    AnalysisJson,
    AnyModel,
    Checkpoint,
    Examples,
    OfGroup,
    Output,
    head_named,
    opening,
    shares_named,
)
from lgbench.cli._folders import finished_runs, read_result
from lgbench.cli._group import App
from lgbench.cli._opening import open_named
from lgbench.cli._options import (
    Changes,
    Device,
    DraftName,
    Lengths,
    ModelOptions,
    Quiet,
    Tasks,
    length_option,
    listed,
    listed_lengths,
    listed_numbers,
    model_options,
)
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra

ZoneLengths = Annotated[list[str] | None, length_option("two in distribution, and two in the transfer zone")]

app = App(help="Look inside a model, and analyze what goes wrong in its replies.", no_args_is_help=True)


@app.command()
def errors(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders to search for finished runs.")],
    task: Tasks = None,
    length: Lengths = None,
    output: Output = None,
    as_json: AnalysisJson = False,
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Say what goes wrong in the replies of finished runs: how they end, and what their first wrong symbol is."""
    analysis = Analysis("errors", output, as_json=as_json, quiet=quiet, extra=None)
    open_named(suite)
    from lgbench.analysis.error_tables import tabulate_errors
    from lgbench.analysis.errors import analyze_errors
    from lgbench.cli._progress import counting

    runs = {folder: read_result(folder) for folder in finished_runs(folders)}
    with counting("re-scoring runs", quiet=analysis.quiet) as report:
        record = analyze_errors(runs, tasks=listed(task), lengths=listed_lengths(length), report=report)
    wrong = any(cell.kinds for run in record.runs for cell in run.cells)
    analysis.show(record, tabulate_errors(record) if wrong else ["No reply is wrong."])
    if analysis.output is not None:
        from lgbench.analysis.error_pictures import error_kinds

        tables = {"cells": record.frame(), "chains": record.chains(), "targets": record.targets()}
        analysis.write(record, tables, {"": error_kinds(record)} if wrong else {})


@app.command()
def heads(
    model: AnyModel,
    task: Tasks = None,
    length: ZoneLengths = None,
    ablation: Annotated[
        list[str] | None,
        typer.Option(help="mean, resample, zero, or several joined by commas; may be repeated.", show_default="all"),
    ] = None,
    examples: Examples = 256,
    output: Output = None,
    device: Device = "auto",
    as_json: AnalysisJson = False,
    quiet: Quiet = False,
    group: OfGroup = None,
    model_option: ModelOptions = None,
    suite: DraftName = None,
) -> None:
    """Remove each attention head in turn, and say what each task of a model loses. With --output, rerun to resume."""
    analysis = Analysis("heads", output, as_json=as_json, quiet=quiet)
    open_named(suite)
    from lgbench.analysis.ablation import ablations_named
    from lgbench.analysis.head_tables import tabulate_heads
    from lgbench.analysis.heads import METRICS, analyze_heads
    from lgbench.analysis.opening import open_model

    with analysis.progress() as report:
        record = analyze_heads(
            open_model(model, **opening(device, group, model_option, suite)),
            tasks=listed(task),
            lengths=listed_lengths(length),
            ablations=ablations_named(listed(ablation)),
            examples=examples,
            path=analysis.path,
            report=report,
        )
    analysis.show(record, tabulate_heads(record))
    if analysis.output is not None:
        from lgbench.analysis.head_pictures import head_maps

        tables = {"maps": record.frame(), "positions": record.positions(), "distances": record.distances()}
        maps = {f"{each}-{metric}": head_maps(record, each, metric) for each in record.ablations for metric in METRICS}
        analysis.write(record, tables, maps)


@app.command()
def reuse(
    model: AnyModel,
    task: Tasks = None,
    unrelated: Annotated[
        str | None,
        typer.Option(
            metavar="TASK", help="An unrelated task that was also trained, for comparison.", show_default="none"
        ),
    ] = None,
    length: ZoneLengths = None,
    ablation: Annotated[str, typer.Option(help="mean, resample or zero.")] = "resample",
    examples: Examples = 128,
    output: Output = None,
    device: Device = "auto",
    as_json: AnalysisJson = False,
    quiet: Quiet = False,
    group: OfGroup = None,
    model_option: ModelOptions = None,
    suite: DraftName = None,
) -> None:
    """Test whether the main task of a model uses other tasks' attention heads. With --output, rerun to resume."""
    analysis = Analysis("reuse", output, as_json=as_json, quiet=quiet)
    open_named(suite)
    from lgbench.analysis.ablation import ablations_named
    from lgbench.analysis.opening import open_model
    from lgbench.analysis.reuse import analyze_reuse
    from lgbench.analysis.verdicts import tabulate_reuse

    (kind,) = ablations_named([ablation])
    with analysis.progress() as report:
        record = analyze_reuse(
            open_model(model, **opening(device, group, model_option, suite)),
            others=listed(task),
            unrelated=unrelated,
            lengths=listed_lengths(length),
            ablation=kind,
            examples=examples,
            path=analysis.path,
            report=report,
        )
    analysis.show(record, tabulate_reuse(record))
    if analysis.output is not None:
        from lgbench.analysis.reuse_pictures import null_distributions

        analysis.write(record, {"tests": record.frame()}, {"": null_distributions(record)})


@app.command()
def attention(
    model: AnyModel,
    task: Tasks = None,
    length: ZoneLengths = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Draw the patterns of this prompt; may be repeated.", show_default="the first example"),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER.HEAD",
            help="Draw this head, or several joined by commas; may be repeated.",
            show_default="all",
        ),
    ] = None,
    examples: Examples = 128,
    output: Output = None,
    device: Device = "auto",
    as_json: AnalysisJson = False,
    quiet: Quiet = False,
    group: OfGroup = None,
    model_option: ModelOptions = None,
    suite: DraftName = None,
) -> None:
    """Say how much attention goes to the source of each target symbol, and draw the attention on single prompts."""
    analysis = Analysis("attention", output, as_json=as_json, quiet=quiet)
    open_named(suite)
    from lgbench.analysis.attention import analyze_attention
    from lgbench.analysis.attention_tables import tabulate_attention
    from lgbench.analysis.opening import open_model

    with analysis.progress() as report:
        record = analyze_attention(
            open_model(model, **opening(device, group, model_option, suite)),
            tasks=listed(task),
            lengths=listed_lengths(length),
            prompts=prompt or [],
            heads=[head_named(text) for text in listed(head)],
            examples=examples,
            report=report,
        )
    analysis.show(record, tabulate_attention(record))
    if analysis.output is not None:
        from lgbench.analysis.attention_pictures import attention_pattern, source_shares

        pictures = {f"{each.task}-{number}": attention_pattern(each) for number, each in enumerate(record.patterns)}
        if record.shares:
            pictures["shares"] = source_shares(record)
        analysis.write(record, {"shares": record.frame()}, pictures)


@app.command()
def confidence(
    model: Checkpoint,
    task: Tasks = None,
    length: Lengths = None,
    examples: Examples = 256,
    output: Output = None,
    device: Device = "auto",
    as_json: AnalysisJson = False,
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Say whether a model knows when an input is too long for it. With --output, rerun to resume."""
    analysis = Analysis("confidence", output, as_json=as_json, quiet=quiet, extra="analysis")
    open_named(suite)
    from lgbench.analysis.confidence import analyze_confidence
    from lgbench.analysis.confidence_tables import tabulate_confidence
    from lgbench.analysis.opening import open_model

    with analysis.progress() as report:
        record = analyze_confidence(
            open_model(model, device=device),
            tasks=listed(task),
            lengths=listed_lengths(length),
            examples=examples,
            path=analysis.path,
            report=report,
        )
    analysis.show(record, tabulate_confidence(record))
    if analysis.output is not None:
        from lgbench.analysis.confidence_pictures import reliability_diagrams, risk_curves

        tables = {each: record.answers(each) for each in ("novelty", "selection", "calibration")}
        pictures = {"reliability": reliability_diagrams(record)}
        if record.selection:
            pictures["risk"] = risk_curves(record)
        analysis.write(record, {"replies": record.frame(), **tables}, pictures)


@app.command()
def relatedness(
    model: Checkpoint,
    task: Tasks = None,
    length: Annotated[list[str] | None, length_option("the last two evaluated in distribution")] = None,
    examples: Examples = 128,
    output: Output = None,
    device: Device = "auto",
    as_json: AnalysisJson = False,
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Say how alike each pair of tasks is to a model: gradients, heads, states, attention, mixed tags."""
    analysis = Analysis("relatedness", output, as_json=as_json, quiet=quiet)
    open_named(suite)
    from lgbench.analysis.opening import open_model
    from lgbench.analysis.relatedness import analyze_relatedness
    from lgbench.analysis.relatedness_views import tabulate_relatedness, tag_mixtures

    with analysis.progress() as report:
        record = analyze_relatedness(
            open_model(model, device=device),
            tasks=listed(task),
            lengths=listed_lengths(length),
            examples=examples,
            report=report,
        )
    analysis.show(record, tabulate_relatedness(record))
    if analysis.output is not None:
        are_mixed = any(each.mixtures is not None for each in record.relations)
        tables = {"pairs": record.frame(), "mixtures": record.mixtures()}
        analysis.write(record, tables, {"tags": tag_mixtures(record)} if are_mixed else {})


@app.command()
def points(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run with --hook keep-points.")],
    length: Annotated[list[str] | None, length_option("the last one evaluated in distribution")] = None,
    examples: Examples = 64,
    output: Output = None,
    device: Device = "auto",
    as_json: AnalysisJson = False,
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Follow the paper's two measures over training, beside the generalization gap. With --output, rerun to resume."""
    analysis = Analysis("points", output, as_json=as_json, quiet=quiet)
    open_named(suite)
    from lgbench.analysis.points import analyze_points
    from lgbench.analysis.points_views import measures_over_training, tabulate_points

    with analysis.progress() as report:
        record = analyze_points(
            run,
            lengths=listed_lengths(length),
            examples=examples,
            path=analysis.path,
            report=report,
            device=device,
        )
    analysis.show(record, tabulate_points(record))
    if analysis.output is not None:
        tables = {"measures": record.frame(), "correlations": record.correlations()}
        analysis.write(record, tables, {"": measures_over_training(record)})


@app.command()
def superposition(
    model: AnyModel,
    task: Tasks = None,
    length: Annotated[list[str] | None, length_option("the main task's training length")] = None,
    share: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B,SUM",
            help="For hf:..., a mixture: the shares of the examples of three tasks; may be repeated.",
            show_default="each alone, and equal",
        ),
    ] = None,
    demonstrations: Annotated[
        int | None, typer.Option(min=2, help="For hf:..., the number of examples in a prompt.", show_default="60")
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(
            min=2, help="Examples for each length, or prompts for each mixture.", show_default="128; for hf:... 100"
        ),
    ] = None,
    output: Output = None,
    device: Device = "auto",
    as_json: AnalysisJson = False,
    quiet: Quiet = False,
    model_option: ModelOptions = None,
    suite: DraftName = None,
) -> None:
    """Measure the answers to a mixture of two task tags or, for hf:..., of examples of three tasks in the prompt."""
    analysis = Analysis("superposition", output, as_json=as_json, quiet=quiet)
    if model.startswith("hf:"):
        if task or length or suite or device != "auto":
            raise LgbenchError(
                "--task, --length, --suite and --device are for reference models. A Hugging Face model is asked the "
                "paper's prompts; --model-option device_map says where it runs."
            )
        _mix_demonstrations(model, share, demonstrations, examples, model_option, analysis)
    else:
        if share or demonstrations is not None or model_option:
            raise LgbenchError(
                "--share, --demonstrations and --model-option are for Hugging Face models, as in hf:FOLDER; of "
                f"{model!r} the tags are mixed. `lgbench analyze in-context` trains a model that reads demonstrations."
            )
        open_named(suite)
        _mix_tags(model, task, length, examples, device, analysis)


def _mix_tags(
    model: str, task: list[str] | None, length: list[str] | None, examples: int | None, device: str, analysis: Analysis
) -> None:
    """Measure a reference model's answers to a mixture of two task tags."""
    from lgbench.analysis.opening import open_model
    from lgbench.analysis.superposition import analyze_superposition, tabulate_superposition

    with analysis.progress() as report:
        record = analyze_superposition(
            open_model(model, device=device),
            others=listed(task),
            lengths=listed_lengths(length),
            examples=examples or 128,
            report=report,
        )
    analysis.show(record, tabulate_superposition(record))
    if analysis.output is not None:
        from lgbench.analysis.superposition_pictures import superposition_curves

        analysis.write(record, {"mixtures": record.frame()}, {"": superposition_curves(record)})


def _mix_demonstrations(
    model: str,
    share: list[str] | None,
    demonstrations: int | None,
    examples: int | None,
    model_option: list[str] | None,
    analysis: Analysis,
) -> None:
    """Measure a Hugging Face model's answers to prompts that mix examples of three tasks."""
    require_extra("hf", purpose=f"MODEL {model!r}")
    from lgbench.analysis.prompted import analyze_prompted
    from lgbench.analysis.prompted_record import tabulate_prompted

    with analysis.progress() as report:
        record = analyze_prompted(
            model,
            options=model_options(model_option or []),
            shares=[shares_named(text) for text in share or []],
            demonstrations=demonstrations or 60,
            prompts=examples or 100,
            path=analysis.path,
            report=report,
        )
    analysis.show(record, tabulate_prompted(record))
    if analysis.output is not None:
        from lgbench.analysis.superposition_pictures import prompted_bars

        analysis.write(record, {"mixtures": record.frame()}, {"": prompted_bars(record)})


@app.command(name="in-context")
def in_context(
    family: Annotated[
        str, typer.Argument(metavar="FAMILY", help="The family of tasks: fields, copy or shift.")
    ] = "fields",
    trained: Annotated[int, typer.Option(min=2, max=1000, help="Demonstrations in each row of training.")] = 10,
    value: Annotated[
        list[str] | None,
        typer.Option("--values", metavar="A,B", help="The two hidden values to mix.", show_default="the family's"),
    ] = None,
    demonstrations: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N",
            help="Demonstrations in a prompt, or several numbers joined by commas; may be repeated.",
            show_default="as trained, and twice as many",
        ),
    ] = None,
    prompts: Annotated[int, typer.Option(min=2, help="Prompts for each mixture.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights and the rows.")] = 0,
    change: Changes = None,
    output: Output = None,
    device: Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be trained and asked, and exit.")
    ] = False,
    as_json: AnalysisJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a small model on prompts with one hidden task each, then test it on mixtures of two. Rerun to resume."""
    analysis = Analysis("in-context", output, as_json=as_json, quiet=quiet)
    from lgbench.analysis.demonstrated import analyze_in_context, planned_lines, tabulate_in_context
    from lgbench.analysis.in_context_training import plan_in_context
    from lgbench.cli._tables import print_parts

    plan = plan_in_context(family, demonstrations=trained, seed=seed, changes=change or [])
    values = listed_numbers(value, flag="--values") or None
    counts = listed_numbers(demonstrations, flag="--demonstrations")
    if dry_run:
        print_parts(planned_lines(plan, values, counts, prompts))
        return
    with analysis.progress() as report:
        record = analyze_in_context(
            plan,
            values=values,
            demonstrations=counts,
            prompts=prompts,
            folder=output,
            device=device,
            report=report,
        )
    analysis.show(record, tabulate_in_context(record))
    if analysis.output is not None:
        from lgbench.analysis.superposition_pictures import demonstration_curves

        analysis.write(record, {"mixtures": record.frame()}, {"": demonstration_curves(record)})
