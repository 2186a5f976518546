"""Parts of decoding: colors, resizing, encoding, hashing, and the child process with a budget."""
