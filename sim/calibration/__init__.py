"""From measurements to a device model: fits, their errors on what was left out, and how sure predictions are."""
