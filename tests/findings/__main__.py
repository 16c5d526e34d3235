"""Write the tables and pictures of all pages of findings."""

from lgbench.plotting import write_picture
from tests.findings import heads, methods
from tests.regenerate import with_parts

for page in (heads, methods):
    page.PAGE.write_text(with_parts(page.PAGE.read_text("utf-8"), page.tables()), "utf-8")
    write_picture(page.figure(), page.PICTURE)
