"""What a stream is: its contract, its message, its run, and where its servers are."""
