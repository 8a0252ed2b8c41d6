"""HTTP to the outside: it connects only to addresses that it checked, and only where it may."""
