"""The leaderboard, a pure function of the committed submissions. How to read it: docs/leaderboard.md."""
