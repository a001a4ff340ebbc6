"""Files of rows: reading, checking, scoring and writing them, in memory that does not grow with the file."""
