"""The command line that joins the stages."""
