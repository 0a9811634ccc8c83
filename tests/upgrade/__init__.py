"""Databases as earlier versions of the site left them, and the script that makes the next one."""
