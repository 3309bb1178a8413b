"""What a file's headers say about the cost of decoding it, read without decoding. One module per format."""
