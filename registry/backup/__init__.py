"""Backups: snapshots of the metadata and the blobs that they name, outside of the registry."""
