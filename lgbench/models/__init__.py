"""Layer 2: how a model is found, loaded and asked."""
