"""Training a model under the protocol, from an arm to a checkpoint."""
