"""What stands in for Azure on a laptop: simulated tenant, local host, demo. Never deployed."""
