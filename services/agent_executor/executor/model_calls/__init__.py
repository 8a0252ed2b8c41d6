"""One call of a model: its money, its request, its answer, and what it really cost."""
