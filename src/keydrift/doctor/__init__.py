"""`keydrift doctor`: what the monitor itself may read, reach and write, and what would repair it."""
