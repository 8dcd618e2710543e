"""Everything that persists: blobs (verified bytes) and metadata (rows in one transactional database)."""
