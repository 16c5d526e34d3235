"""How training under an arm can be changed: one file for each method, with its definition and source.

docs/methods.md describes them. To write another, subclass `lgbench.training.method.Method`.
"""
