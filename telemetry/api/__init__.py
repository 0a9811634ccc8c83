"""What the API says of readings, a file for each kind of question."""
