"""`lgbench analyze`: what happens inside a model, and what goes wrong in its replies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli._analysis import (
    AnalysisJson,
    AnyModel,
    Checkpoint,
    Examples,
    OfGroup,
    Output,
    head_named,
    listed_numbers,
    opening,
    print_analysis,
    reporter,
    say_written,
    shares_named,
    write_tables,
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
    listed,
    listed_lengths,
    model_options,
)
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra

app = App(help="Look into a model, and at what goes wrong in its replies.", no_args_is_help=True)


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
    if output is not None:
        require_extra("plot", purpose="A picture")
    open_named(suite)
    from lgbench.analysis.error_tables import tabulate_errors
    from lgbench.analysis.errors import analyze_errors
    from lgbench.cli._progress import counting

    runs = {folder: read_result(folder) for folder in finished_runs(folders)}
    with counting("re-scoring runs", quiet=quiet or as_json) as report:
        record = analyze_errors(runs, tasks=listed(task), lengths=listed_lengths(length), report=report)
    wrong = any(cell.kinds for run in record.runs for cell in run.cells)
    print_analysis(record, tabulate_errors(record) if wrong else ["No reply is wrong."], as_json=as_json)
    if output is not None:
        write_tables(
            output, "errors", record, {"cells": record.frame(), "chains": record.chains(), "targets": record.targets()}
        )
        if wrong:
            from lgbench.analysis.error_pictures import error_kinds
            from lgbench.plotting import write_picture

            write_picture(error_kinds(record), output / "errors.svg")
        say_written(output, quiet=quiet or as_json)


@app.command()
def heads(
    model: AnyModel,
    task: Tasks = None,
    length: Lengths = None,
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
    require_extra("torch", purpose="`lgbench analyze heads`")
    if output is not None:
        require_extra("plot", purpose="A picture")
    open_named(suite)
    from lgbench.analysis.ablation import ablations_named
    from lgbench.analysis.head_tables import tabulate_heads
    from lgbench.analysis.heads import METRICS, analyze_heads
    from lgbench.analysis.opening import open_model

    with reporter(quiet=quiet or as_json) as report:
        record = analyze_heads(
            open_model(model, **opening(device, group, model_option, suite)),
            tasks=listed(task),
            lengths=listed_lengths(length),
            ablations=ablations_named(listed(ablation)),
            examples=examples,
            path=None if output is None else output / "heads.json",
            report=report,
        )
    print_analysis(record, tabulate_heads(record), as_json=as_json)
    if output is not None:
        from lgbench.analysis.head_pictures import head_maps
        from lgbench.plotting import write_picture

        tables = {"maps": record.frame(), "positions": record.positions(), "distances": record.distances()}
        write_tables(output, "heads", record, tables)
        for each in record.ablations:
            for metric in METRICS:
                write_picture(head_maps(record, each, metric), output / f"heads-{each}-{metric}.svg")
        say_written(output, quiet=quiet or as_json)


@app.command()
def reuse(
    model: AnyModel,
    task: Tasks = None,
    unrelated: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="A trained task to serve as the floor.", show_default="none"),
    ] = None,
    length: Lengths = None,
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
    require_extra("torch", purpose="`lgbench analyze reuse`")
    if output is not None:
        require_extra("plot", purpose="A picture")
    open_named(suite)
    from lgbench.analysis.ablation import ablations_named
    from lgbench.analysis.opening import open_model
    from lgbench.analysis.reuse import analyze_reuse
    from lgbench.analysis.verdicts import tabulate_reuse

    (kind,) = ablations_named([ablation])
    with reporter(quiet=quiet or as_json) as report:
        record = analyze_reuse(
            open_model(model, **opening(device, group, model_option, suite)),
            others=listed(task),
            unrelated=unrelated,
            lengths=listed_lengths(length),
            ablation=kind,
            examples=examples,
            path=None if output is None else output / "reuse.json",
            report=report,
        )
    print_analysis(record, tabulate_reuse(record), as_json=as_json)
    if output is not None:
        from lgbench.analysis.reuse_pictures import null_distributions
        from lgbench.plotting import write_picture

        write_tables(output, "reuse", record, {"tests": record.frame()})
        write_picture(null_distributions(record), output / "reuse.svg")
        say_written(output, quiet=quiet or as_json)


@app.command()
def attention(
    model: AnyModel,
    task: Tasks = None,
    length: Lengths = None,
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
    """Say how much attention goes where the target comes from, and draw the attention on single prompts."""
    require_extra("torch", purpose="`lgbench analyze attention`")
    if output is not None:
        require_extra("plot", purpose="A picture")
    open_named(suite)
    from lgbench.analysis.attention import analyze_attention
    from lgbench.analysis.attention_tables import tabulate_attention
    from lgbench.analysis.opening import open_model

    with reporter(quiet=quiet or as_json) as report:
        record = analyze_attention(
            open_model(model, **opening(device, group, model_option, suite)),
            tasks=listed(task),
            lengths=listed_lengths(length),
            prompts=prompt or [],
            heads=[head_named(text) for text in listed(head)],
            examples=examples,
            report=report,
        )
    print_analysis(record, tabulate_attention(record), as_json=as_json)
    if output is not None:
        from lgbench.analysis.attention_pictures import attention_pattern, source_shares
        from lgbench.plotting import write_picture

        write_tables(output, "attention", record, {"shares": record.frame()})
        if record.shares:
            write_picture(source_shares(record), output / "attention-shares.svg")
        for number, each in enumerate(record.patterns):
            write_picture(attention_pattern(each), output / f"attention-{each.task}-{number}.svg")
        say_written(output, quiet=quiet or as_json)


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
    require_extra("analysis", purpose="`lgbench analyze confidence`")
    if output is not None:
        require_extra("plot", purpose="A picture")
    open_named(suite)
    from lgbench.analysis.confidence import analyze_confidence
    from lgbench.analysis.confidence_tables import tabulate_confidence
    from lgbench.analysis.opening import open_model

    with reporter(quiet=quiet or as_json) as report:
        record = analyze_confidence(
            open_model(model, device=device),
            tasks=listed(task),
            lengths=listed_lengths(length),
            examples=examples,
            path=None if output is None else output / "confidence.json",
            report=report,
        )
    print_analysis(record, tabulate_confidence(record), as_json=as_json)
    if output is not None:
        from lgbench.analysis.confidence_pictures import reliability_diagrams, risk_curves
        from lgbench.plotting import write_picture

        tables = {each: record.answers(each) for each in ("novelty", "selection", "calibration")}
        write_tables(output, "confidence", record, {"replies": record.frame(), **tables})
        write_picture(reliability_diagrams(record), output / "confidence-reliability.svg")
        if record.selection:
            write_picture(risk_curves(record), output / "confidence-risk.svg")
        say_written(output, quiet=quiet or as_json)


@app.command()
def relatedness(
    model: Checkpoint,
    task: Tasks = None,
    length: Lengths = None,
    examples: Examples = 128,
    output: Output = None,
    device: Device = "auto",
    as_json: AnalysisJson = False,
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Say how alike each pair of tasks is to a model: gradients, heads, states, attention, mixed tags."""
    require_extra("torch", purpose="`lgbench analyze relatedness`")
    if output is not None:
        require_extra("plot", purpose="A picture")
    open_named(suite)
    from lgbench.analysis.opening import open_model
    from lgbench.analysis.relatedness import analyze_relatedness
    from lgbench.analysis.relatedness_views import tabulate_relatedness, tag_mixtures

    with reporter(quiet=quiet or as_json) as report:
        record = analyze_relatedness(
            open_model(model, device=device),
            tasks=listed(task),
            lengths=listed_lengths(length),
            examples=examples,
            report=report,
        )
    print_analysis(record, tabulate_relatedness(record), as_json=as_json)
    if output is not None:
        from lgbench.plotting import write_picture

        write_tables(output, "relatedness", record, {"pairs": record.frame(), "mixtures": record.mixtures()})
        if any(each.mixtures is not None for each in record.relations):
            write_picture(tag_mixtures(record), output / "relatedness-tags.svg")
        say_written(output, quiet=quiet or as_json)


@app.command()
def points(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run with --hook keep-points.")],
    length: Lengths = None,
    examples: Examples = 64,
    output: Output = None,
    device: Device = "auto",
    as_json: AnalysisJson = False,
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Follow the paper's two measures over training, beside the generalization gap. With --output, rerun to resume."""
    require_extra("torch", purpose="`lgbench analyze points`")
    if output is not None:
        require_extra("plot", purpose="A picture")
    open_named(suite)
    from lgbench.analysis.points import analyze_points
    from lgbench.analysis.points_views import measures_over_training, tabulate_points

    with reporter(quiet=quiet or as_json) as report:
        record = analyze_points(
            run,
            lengths=listed_lengths(length),
            examples=examples,
            path=None if output is None else output / "points.json",
            report=report,
            device=device,
        )
    print_analysis(record, tabulate_points(record), as_json=as_json)
    if output is not None:
        from lgbench.plotting import write_picture

        write_tables(output, "points", record, {"measures": record.frame(), "correlations": record.correlations()})
        write_picture(measures_over_training(record), output / "points.svg")
        say_written(output, quiet=quiet or as_json)


@app.command()
def superposition(
    model: AnyModel,
    task: Tasks = None,
    length: Lengths = None,
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
    require_extra("torch", purpose="`lgbench analyze superposition`")
    if output is not None:
        require_extra("plot", purpose="A picture")
    if model.startswith("hf:"):
        if task or length or suite or device != "auto":
            raise LgbenchError(
                "--task, --length, --suite and --device are for reference models. A Hugging Face model is asked the "
                "paper's prompts; --model-option device_map says where it runs."
            )
        _prompted_superposition(
            model, share or [], demonstrations, examples, output, as_json, quiet, model_option or []
        )
        return
    if share or demonstrations is not None or model_option:
        raise LgbenchError(
            f"--share, --demonstrations and --model-option are for Hugging Face models, as in hf:FOLDER; of {model!r} "
            "the tags are mixed. `lgbench analyze in-context` trains a model that reads demonstrations."
        )
    open_named(suite)
    from lgbench.analysis.opening import open_model
    from lgbench.analysis.superposition import analyze_superposition, tabulate_superposition

    with reporter(quiet=quiet or as_json) as report:
        record = analyze_superposition(
            open_model(model, device=device),
            others=listed(task),
            lengths=listed_lengths(length),
            examples=examples or 128,
            report=report,
        )
    print_analysis(record, tabulate_superposition(record), as_json=as_json)
    if output is not None:
        from lgbench.analysis.superposition_pictures import superposition_curves
        from lgbench.plotting import write_picture

        write_tables(output, "superposition", record, {"mixtures": record.frame()})
        write_picture(superposition_curves(record), output / "superposition.svg")
        say_written(output, quiet=quiet or as_json)


def _prompted_superposition(
    model: str,
    share: list[str],
    demonstrations: int | None,
    examples: int | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    model_option: list[str],
) -> None:
    require_extra("hf", purpose=f"MODEL {model!r}")
    from lgbench.analysis.prompted import analyze_prompted
    from lgbench.analysis.prompted_record import tabulate_prompted

    with reporter(quiet=quiet or as_json) as report:
        record = analyze_prompted(
            model,
            options=model_options(model_option),
            shares=[shares_named(text) for text in share],
            demonstrations=demonstrations or 60,
            prompts=examples or 100,
            path=None if output is None else output / "superposition.json",
            report=report,
        )
    print_analysis(record, tabulate_prompted(record), as_json=as_json)
    if output is not None:
        from lgbench.analysis.superposition_pictures import prompted_bars
        from lgbench.plotting import write_picture

        write_tables(output, "superposition", record, {"mixtures": record.frame()})
        write_picture(prompted_bars(record), output / "superposition.svg")
        say_written(output, quiet=quiet or as_json)


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
    require_extra("torch", purpose="`lgbench analyze in-context`")
    if output is not None:
        require_extra("plot", purpose="A picture")
    from lgbench.analysis.demonstrated import analyze_in_context, planned_lines, tabulate_in_context
    from lgbench.analysis.in_context_training import plan_in_context
    from lgbench.cli._report import print_parts

    plan = plan_in_context(family, demonstrations=trained, seed=seed, changes=change or [])
    values = listed_numbers(value, flag="--values") or None
    counts = listed_numbers(demonstrations, flag="--demonstrations")
    if dry_run:
        print_parts(planned_lines(plan, values, counts, prompts))
        return
    with reporter(quiet=quiet or as_json) as report:
        record = analyze_in_context(
            plan,
            values=values,
            demonstrations=counts,
            prompts=prompts,
            folder=output,
            device=device,
            report=report,
        )
    print_analysis(record, tabulate_in_context(record), as_json=as_json)
    if output is not None:
        from lgbench.analysis.superposition_pictures import demonstration_curves
        from lgbench.plotting import write_picture

        write_tables(output, "in-context", record, {"mixtures": record.frame()})
        write_picture(demonstration_curves(record), output / "in-context.svg")
        say_written(output, quiet=quiet or as_json)
