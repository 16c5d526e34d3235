"""Programs for work on lgbench itself; each says how to call it."""
