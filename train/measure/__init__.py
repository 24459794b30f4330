"""What is measured of a machine, one file for each thing; `sweep` puts them in order and keeps the rows."""
