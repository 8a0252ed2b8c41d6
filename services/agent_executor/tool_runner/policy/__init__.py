"""What calls must pass: rate limits, allowed domains and the screening of arguments."""
