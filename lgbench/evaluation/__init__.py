"""The main job: cells chosen, asked, graded and kept, from the first reply to the result on disk; and re-scored.

`planning` chooses the cells, `loop` works through them, `asking` calls the model, `grading` compares replies with their
targets, `partial` is their form on disk while the run goes on, and `folder` the run's folder. `evaluator` puts them
together, `rescoring` recomputes a result from its replies, `stored` keeps what it cannot draw again, and
`environment` describes the machine.
"""
