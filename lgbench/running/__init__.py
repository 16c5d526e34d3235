"""One evaluation: cells chosen, asked, graded and kept, from the first reply to the result on disk.

`planning` chooses the cells, `loop` works through them, `asking` calls the model, `grading` holds each reply against
its target, `partial` is their form on disk while the run goes on and `replies` when it is done, and `folder` the run's
folder. `lgbench.evaluation` puts them together.
"""
