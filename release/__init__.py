"""What a release is made by: its metadata, and the check of all that is published."""
