//! Functions that the extension's owner calls: `auth.init`, `auth.follow`, `auth.follow_url`,
//! `auth.unfollow`, and the rows of `auth.key_status`.

mod errors;
mod follow;
mod follow_url;
mod init;
mod status;
