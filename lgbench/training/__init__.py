"""Layer 4: training a model under the protocol, from an arm to a checkpoint."""
