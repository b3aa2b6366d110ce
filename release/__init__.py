"""Tools of a release: its metadata, and the check of all that is published."""
