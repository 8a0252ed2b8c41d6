"""What callers can do with runs."""
