"""How fast lgbench is: figures measured on the machine at hand, with ratios taken within one run.

`python -m benchmarks`, in a clone; docs/speed.md holds what was measured. No part of the installed package.
"""
