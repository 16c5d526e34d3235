"""Pure functions from counts to scores: nothing here reads a file or asks a model.

`measures` turns the counts of one result into zones and horizons, `seeds` a run into what its group scores,
`comparison` the arms of a group into gains, and `systems` the runs of a system into its scores; `bootstrap` gives their
intervals, `curves` what pictures draw, `display` what text shows.
"""
