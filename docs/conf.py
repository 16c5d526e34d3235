"""How Sphinx builds the documentation site from these pages: `poe docs`. CONTRIBUTING.md says why Sphinx."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for tools/, and for lgbench where it is not installed

from lgbench.version import __version__  # noqa: E402

project = "lgbench"
author = "The lgbench authors"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "tools.site"]
root_doc = "index"
exclude_patterns = ["README.md", "runs", "trials", "ablations", "sweeps"]

myst_heading_anchors = 4  # GitHub's anchors, which links between the pages use
highlight_language = "none"
default_role = "literal"  # the docstrings' single backquotes

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"lgbench {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_use_index = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5fa8", "color-brand-content": "#1f5fa8"},
    "dark_css_variables": {"color-brand-primary": "#8ab8f0", "color-brand-content": "#8ab8f0"},
}
