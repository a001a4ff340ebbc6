"""One file a resource; a route parses, delegates and formats."""
