"""From measurements to a device model: fits, and their errors on what was left out."""
