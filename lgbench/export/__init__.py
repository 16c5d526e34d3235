"""The suite and its results in the formats of other programs."""
