//! The kinds of revocations.

/// The tokens that a revocation is for: those with one value of a claim, one token, or all of an
/// issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevokedBy {
    /// Every token of the issuer.
    Issuer,
    /// The token with this `jti`.
    TokenId,
    /// The tokens with this `sub`.
    Subject,
    /// The tokens with this `sid` or `session_id`.
    Session,
    /// One token, by the digest of its signed part.
    Token,
}

impl RevokedBy {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Issuer,
        Self::TokenId,
        Self::Subject,
        Self::Session,
        Self::Token,
    ];

    /// `issuer`, `jti`, `sub`, `sid` or `token`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::TokenId => "jti",
            Self::Subject => "sub",
            Self::Session => "sid",
            Self::Token => "token",
        }
    }
}
