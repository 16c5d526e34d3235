"""How fast lgbench is: figures measured on the machine at hand, with ratios taken within one run."""
