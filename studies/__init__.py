"""Studies of this project: README.md says which, and by which rules."""
