"""A first contract and a first question, drafted from a CSV file that nobody has described yet."""
