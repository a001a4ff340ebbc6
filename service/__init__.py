"""The service room: the HTTP API and the ``credence`` command, in front of any ``credence.scoring.Scorer``."""
