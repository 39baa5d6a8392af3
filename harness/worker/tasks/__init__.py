"""The shelf of tasks: one file each, its name is the name in a suite."""
