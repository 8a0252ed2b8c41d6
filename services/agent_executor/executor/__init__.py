"""Service 1: agents, their runs and the models they run on."""
