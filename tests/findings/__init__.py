"""What the pages of findings in docs/ show, derived from committed records: a module for each page.

`python -m tests.findings` writes the generated parts of the pages anew, after records were added. A module has `PAGE`,
`PICTURE`, `tables` (the lines of each part by its name) and `figure`.
"""
