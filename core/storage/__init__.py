"""Uploaded images, in a folder or in S3."""
