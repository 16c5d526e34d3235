"""The leaderboard as a web page: a folder of files that needs no server, and nothing from another host."""
