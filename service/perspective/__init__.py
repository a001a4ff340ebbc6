"""The shape of the Perspective API, for tools that move from it."""
