"""The commands of ``credence`` beside ``score`` and ``serve``, and what they share."""
