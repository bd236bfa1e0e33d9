//! The HTTPS client of pg_auth_jwt.
