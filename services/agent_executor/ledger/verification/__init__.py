"""Proves that the ledger's sums, prices and holds follow from its entries. Nothing is repaired."""
