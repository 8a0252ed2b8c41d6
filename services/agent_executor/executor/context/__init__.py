"""What of a conversation a model is given: its estimate, its limits, and what is left out."""
