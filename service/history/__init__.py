"""What was kept, as pages, figures and files."""
