"""Backups of databases of earlier versions, and the script that creates the next one."""
