//! Everything on disk: blobs, snapshots, cache records, image names, locks, garbage collection.
