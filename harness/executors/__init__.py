"""Ways to get cells measured: one file each, the file name is the name on the command line."""
