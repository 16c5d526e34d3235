"""How training under an arm can be changed: one file a method, each with its definition and its source.

docs/methods.md has them in words. To write another, subclass `lgbench.training.method.Method`.
"""
