"""An app with a model of each kind that capture and decoding must handle."""
