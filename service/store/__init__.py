"""What outlasts a request: the database, and what is asked of it. The same code for SQLite and PostgreSQL."""
