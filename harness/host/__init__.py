"""The host under the labs: its speed, its load, its room, and what it has measured before."""
