"""The page: every key binding's posture as one self-contained HTML document, served by the monitor and written by `scan`."""
