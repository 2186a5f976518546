"""Read and write bytes: local files, object stores and HTTP servers."""
