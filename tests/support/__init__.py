"""What several tests share: small projects, data, servers, and what to compare."""
