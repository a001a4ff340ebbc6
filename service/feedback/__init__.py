"""What reviewers say of scores, and how it becomes rows to train from."""
