"""What maintainers do to verify a system: have its weights answer fresh examples, and compare runs trained again."""
