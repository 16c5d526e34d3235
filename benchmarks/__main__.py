"""`python -m benchmarks`: how fast lgbench is, measured here and now."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli._group import Group
from lgbench.cli._options import Lengths, listed_lengths
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra

app = typer.Typer(
    cls=Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measure lgbench's own speed on this machine. Without a command: start-up, harness, memory and data.",
    invoke_without_command=True,
)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


@app.callback()
def run(context: typer.Context) -> None:
    """Measure everything that needs no extra."""
    if context.invoked_subcommand is None:
        # A process inherits the peak of the one that starts it, so memory comes before data is drawn here.
        for measure in (startup, harness, memory, data):
            measure()


@app.command()
def startup() -> None:
    """The time of --help against that of a bare Typer program."""
    from benchmarks import processes

    _print(processes.startup())


@app.command()
def harness() -> None:
    """The whole process of an evaluation whose model answers at once."""
    from benchmarks import processes

    _print(processes.harness())


@app.command()
def data() -> None:
    """Drawing the test cells and the training streams."""
    from benchmarks import data as measured

    _print(measured.cells())
    _print(measured.streams())


@app.command()
def memory() -> None:
    """The peak memory of an evaluation on the small and on the large suite."""
    from benchmarks import processes

    _print(processes.memory())


@app.command()
def train(
    preset: Annotated[str, typer.Option(help="tuned, mini or paper.")] = "tuned",
    group: Annotated[str, typer.Option(help="A group of mini-v1: its preset and its examples.")] = "capitalize-reverse",
) -> None:
    """The training step of a preset against a plain loop around transformers' Llama, and the data loader's share."""
    require_extra("torch", purpose="`python -m benchmarks train`")
    from benchmarks import train as measured

    _print(measured.steps(preset, group))


@app.command()
def methods(
    preset: Annotated[str, typer.Option(help="tuned, mini or paper.")] = "tuned",
    group: Annotated[str, typer.Option(help="A group of mini-v1: its preset and its examples.")] = "capitalize-reverse",
) -> None:
    """The training step with each method of `lgbench methods` against the plain one."""
    require_extra("torch", purpose="`python -m benchmarks methods`")
    from benchmarks import methods as measured

    _print(measured.steps(preset, group))


@app.command()
def analyze(
    length: Lengths = None,
    examples: Annotated[int, typer.Option(min=2, help="Of each task and length.")] = 256,
) -> None:
    """Head maps against loops over heads: written out, and by TransformerLens and nnsight where they are installed."""
    require_extra("torch", purpose="`python -m benchmarks analyze`")
    from benchmarks import analyze as measured

    _print(measured.maps(lengths=listed_lengths(length) or measured.LENGTHS, examples=examples))


@app.command()
def decode() -> None:
    """Greedy decoding against transformers' generate, on the same weights and prompts."""
    require_extra("torch", purpose="`python -m benchmarks decode`")
    from benchmarks import decode as measured

    _print(measured.replies())


@app.command()
def hf(
    model: Annotated[
        str | None, typer.Option(help="A Hugging Face folder.", show_default="one made on the spot")
    ] = None,
    length: Lengths = None,
    batch_size: Annotated[int, typer.Option(help="The batch size of lm-evaluation-harness.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="How often each runs, in turn.")] = 1,
) -> None:
    """Evaluating a Hugging Face model, against lm-evaluation-harness where `lm_eval` is on the PATH."""
    require_extra("hf", purpose="`python -m benchmarks hf`")
    from benchmarks import huggingface

    _print(huggingface.harnesses(model, lengths=listed_lengths(length), batch_size=batch_size, rounds=rounds))


@app.command()
def board(
    systems: Annotated[int, typer.Option(min=1, help="How many are made up.")] = 1000,
    seeds: Annotated[int, typer.Option(min=1, help="Of each of three arms in every group.")] = 3,
    site: Annotated[
        bool, typer.Option("--site", help="Also write pages of the site, which holds every result.")
    ] = False,
    newcomer: Annotated[
        Path | None,
        typer.Option(help="Also build after this system has joined those made up, which are kept.", show_default=False),
    ] = None,
    submissions: Annotated[
        Path | None, typer.Option(help="Also check these, by one process and by two.", show_default=False)
    ] = None,
) -> None:
    """The leaderboard with many systems: time, memory, and the sizes of its pages."""
    require_extra("site", purpose="`python -m benchmarks board`")
    from benchmarks import board as measured

    _print(measured.many(systems, seeds=seeds))
    if site:
        _print(measured.pages(systems, seeds=seeds))
    if newcomer is not None:
        _print(measured.incremental(systems, seeds=seeds, newcomer=newcomer))
    if submissions is not None:
        _print(measured.checks(submissions))


@app.command()
def api() -> None:
    """Requests a second to a server on loopback, against the most that it allows."""
    require_extra("api", purpose="`python -m benchmarks api`")
    from benchmarks import api as measured

    _print(measured.request_rate())


def main() -> None:
    """Run the command line. An error that the user can fix becomes one sentence on stderr and exit status 1."""
    try:
        app(prog_name="python -m benchmarks")
    except LgbenchError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
