"""What an organization has spent and holds: the rules, and where it is kept."""
