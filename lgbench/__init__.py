"""The benchmark for length generalization transfer."""
