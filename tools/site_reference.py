"""The generated pages of the documentation site: the commands, from the Typer app, and the Python names."""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.util.inspect import stringify_signature

DOCS = Path(__file__).parents[1] / "docs"
_STYLE: Any = Config(napoleon_numpy_docstring=False, napoleon_use_ivar=True, napoleon_attr_annotations=False)


def commands() -> str:
    """Every command with its arguments and options, as Markdown."""
    import typer
    from typer.cli import get_docs_for_click

    from lgbench.cli import app

    group: Any = typer.main.get_command(app)
    context = group.make_context("lgbench", [], resilient_parsing=True)
    sections = []
    for name in group.list_commands(context):
        # The context of a command knows the command itself, also where the group holds a stand-in for it.
        command = (
            group.get_command(context, name).make_context(name, [], parent=context, resilient_parsing=True).command
        )
        text = get_docs_for_click(obj=command, ctx=context, indent=1, name=name, call_prefix="lgbench")
        text = re.sub(r"^\*\*Commands\*\*:\n\n(?:\* .*\n)+\n", "", text, flags=re.M)  # the sections that follow
        text = re.sub(r"^\* `-h, --help`: .*\n", "", text, flags=re.M)
        text = re.sub(r"^\*\*Options\*\*:\n\n(?!\* )", "", text, flags=re.M)
        text = re.sub(r"^\*\*(Usage|Arguments|Options)\*\*:$", r"\1:", text, flags=re.M)
        sections.append(re.sub(r"\bdocs/([\w-]+\.md)", r"[\1](\1)", text))
    return "\n".join(sections)


def imported_names() -> dict[str, list[str]]:
    """What the Python blocks of the pages import from modules of lgbench: the names that a user is shown, by module."""
    found: dict[str, set[str]] = {}
    for page in sorted(DOCS.glob("*.md")):
        for block in re.findall(r"^```python.*?\n(.*?)^```$", page.read_text("utf-8"), flags=re.M | re.S):
            for module, names in re.findall(r"^from (lgbench\.[\w.]+) import ([\w, ]+)$", block, flags=re.M):
                found.setdefault(module, set()).update(re.findall(r"\w+", names))
    # A module that does not exist is one that the page has its reader write.
    return {module: sorted(names) for module, names in sorted(found.items()) if importlib.util.find_spec(module)}


def api() -> str:
    """The public names, then what the pages import from modules, as directives of autodoc."""
    import lgbench

    shown: set[int] = set()
    public = _section("## lgbench", "lgbench", sorted(set(lgbench.__all__) - {"__version__"}), shown)
    modules = [_section(f"### {module}", module, names, shown) for module, names in imported_names().items()]
    heading = "## For extensions\n\nThe names that the guides import from modules of the package, by module.\n"
    return "\n".join([public, heading, *filter(None, modules)])


def _section(heading: str, module: str, names: list[str], shown: set[int]) -> str:
    """The names of a module that are not shown yet; nothing where there are none."""
    directives = list(_directives(module, names, shown))
    return "\n".join([heading, "", "```{eval-rst}", *directives, "```", ""]) if directives else ""


def _directives(module: str, names: list[str], shown: set[int]) -> Iterator[str]:
    holder = importlib.import_module(module)
    for name in names:
        value = getattr(holder, name)
        if id(value) in shown or inspect.ismodule(value):
            continue
        shown.add(id(value))
        if inspect.isclass(value):
            kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
            yield from (f".. {kind}:: {module}.{name}", "   :members:", "")
        elif callable(value):
            yield from (f".. autofunction:: {module}.{name}", "")
        else:
            yield from (f".. autodata:: {module}.{name}", "   :no-value:", "")


def google_docstring(_app: Sphinx, what: Any, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Turn a docstring of Google's style into what Sphinx reads.

    The extension napoleon would do so too, but takes `All of it: the first part` at a property for a type and a text.
    """
    if what == "data" and "\n".join(lines).strip() == (inspect.getdoc(type(value)) or "").strip():
        lines.clear()  # of the value's type, as the value has none of its own
    what = "class" if what in ("property", "attribute", "data") else what
    lines[:] = GoogleDocstring("\n".join(lines), _STYLE, what=what, name=name, obj=value, options=options).lines()


class _Shown:
    """A default that is shown as a text of ours."""

    def __repr__(self) -> str:
        return "..."


def short_signature(
    _app: Sphinx, what: str, _name: str, value: Any, _options: Any, arguments: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """A signature without what nobody can read: defaults such as `<function f at 0x...>`, and `Annotated`."""
    if what not in ("class", "function") or not re.search(r"<|Annotated\[", arguments or ""):
        return None
    signature = inspect.signature(value)
    parameters = [
        parameter.replace(
            default=_Shown()
            if "<" in repr(parameter.default) and parameter.default is not parameter.empty
            else parameter.default,
            annotation=parameter.empty if "Annotated[" in str(parameter.annotation) else parameter.annotation,
        )
        for parameter in signature.parameters.values()
    ]
    short = signature.replace(parameters=parameters, return_annotation=signature.empty)
    return stringify_signature(short, unqualified_typehints=True), returned


def skip(_app: Sphinx, _what: str, name: str, member: object, _skipped: bool, _options: Any) -> bool | None:
    """Leave out of the reference what libraries add to named tuples and to pydantic's models."""
    added = (inspect.getdoc(member) or "").startswith("Alias for field number") or name == "model_config"
    return True if added else None


def name_attributes(_app: Sphinx, page: nodes.document) -> None:
    """Call attributes what the docstrings call them; Sphinx heads them with `Variables`."""
    for field in page.findall(nodes.field_name):
        if field.astext() == "Variables":
            field[:] = [nodes.Text("Attributes")]


def connect(app: Sphinx) -> None:
    """Have Sphinx call these when it reads docstrings."""
    app.connect("autodoc-process-docstring", google_docstring)
    app.connect("autodoc-process-signature", short_signature)
    app.connect("autodoc-skip-member", skip)
    app.connect("doctree-read", name_attributes)
