"""Pure functions from counts to scores: nothing here reads a file or asks a model.

`measures` turns the counts of one result into zones and horizons, `seeds` a run into what its group scores,
`comparison` the arms of a group into gains, and `systems` the runs of a system into its scores. `estimates` has means
over seeds with their intervals, `significance` tests, `seen` the verdict on a group, `ranking` the order of systems.
`curves` is what pictures draw, `display` and `verdicts` what text shows.
"""
