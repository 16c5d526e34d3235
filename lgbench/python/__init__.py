"""lgbench from Python and in notebooks: the commands as functions, results as frames and pictures.

`results` is what the functions of `runs` return, `training` has `train` and `reproduce`, `records` reads what they
leave, `loops` is for training loops of your own, `board` has the leaderboard and `pictures` the plots. All are reached
as `lgbench.NAME`: docs/python.md.
"""
