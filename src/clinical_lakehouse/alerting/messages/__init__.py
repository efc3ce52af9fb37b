"""What a message says: allowed labels into templates into subject, text and HTML."""
