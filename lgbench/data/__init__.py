"""Tasks by domain, groups and suites, arms and mixtures, test cells and their locks, the training stream."""
