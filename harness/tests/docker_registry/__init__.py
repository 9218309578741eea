"""The same requests to Docker's own registry (Debian's docker-registry) and to the lab's."""
