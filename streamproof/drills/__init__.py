"""Drills: parts of a running chain are killed, restarted or cut off, and the verdict says whether it did any harm."""
