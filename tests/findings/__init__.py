"""What the pages of findings in docs/ show, derived from committed records: a module for each page.

When records were added, `python -m tests.findings` writes the generated parts of the pages again. A module has `PAGE`,
`PICTURE`, `tables` (the lines of each part by its name) and `figure`.
"""
