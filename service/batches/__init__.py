"""Batches: from an uploaded file through a queue in the database to results in the order of the file."""
