"""The peers: each file is one server, or one program, as its users would write it."""
