"""The verdict on a run while it goes on."""
