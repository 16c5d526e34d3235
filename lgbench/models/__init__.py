"""Layer 3: how a model is found, loaded and asked."""
