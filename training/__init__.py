"""Makes the bundle: corpora, encoder, fine-tuning, calibration, export, tracking."""
