"""What models and tools cost: the price list, and the organizations' own cards."""
