"""Statements of all requests, put together into batches in front of the scorer."""
