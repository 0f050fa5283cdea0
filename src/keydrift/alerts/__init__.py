"""What becomes of a drift: its record, cause and actor, and the rows that tell it. Pure."""
