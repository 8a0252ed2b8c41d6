"""The tools that organizations write: their versions, and where they are found and shown."""
