"""The stages that look at pictures. Each turns rows into columns; none writes a file."""
