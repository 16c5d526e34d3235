"""Files, records, processes, text of others, extras and errors: what every other room may use."""
