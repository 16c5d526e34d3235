"""Layer 6: the commands. Each parses, calls the library and prints."""
