"""The only reader, validator and writer of `submissions/`. Layout: docs/submitting.md.

Everything below a submissions folder is data from strangers: nothing in it is followed, executed or trusted.
"""
