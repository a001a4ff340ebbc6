"""Webhooks: what is told, to whom, signed how, and when it is tried again."""
