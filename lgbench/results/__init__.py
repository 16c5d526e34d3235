"""The record of a result, a reply, and replies as they are stored."""
